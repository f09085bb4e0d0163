//! Whether anything listens at a server's address.

use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;
use ureq::http::Uri;

/// The longest that is waited for it.
const PATIENCE: Duration = Duration::from_secs(3);

/// Connects and says nothing. What lies behind a proxy is not looked at.
///
/// # Errors
/// Why no connection came about.
pub fn reachable(url: &str) -> Result<(), String> {
    let proxied = ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY"];
    let set = |name: &&str| {
        [name.to_string(), name.to_lowercase()].iter().any(|name| std::env::var_os(name).is_some())
    };
    let url: Uri = url.parse().map_err(|error| format!("{error}"))?;
    let Some(host) = url.host().filter(|_| !proxied.iter().any(set)) else { return Ok(()) };
    let port = url.port_u16().unwrap_or(if url.scheme_str() == Some("https") { 443 } else { 80 });
    let addresses =
        (host.trim_matches(['[', ']']), port).to_socket_addrs().map_err(|error| error.to_string())?;
    let mut why = "its name has no address".to_owned();
    for address in addresses {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(_) => return Ok(()),
            Err(error) => why = error.to_string(),
        }
    }
    Err(why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn what_listens_is_reachable() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1", server.local_addr().unwrap());
        assert_eq!(reachable(&url), Ok(()));
        drop(server);
        assert!(reachable(&url).unwrap_err().contains("refused"));
    }
}
