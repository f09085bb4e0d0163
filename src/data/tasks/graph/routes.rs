//! Routes on a map of lines.

use super::Asked;
use crate::data::order::{below, shuffle};
use rand::RngCore;
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

const COLOURS: [&str; 3] = ["red", "blue", "gold"];

/// A line: its colour, and its stations in order; trains go both ways.
pub type Line = (&'static str, Vec<char>);

/// A part of a route: a line, and the stations on it.
type Ride = (&'static str, Vec<char>);

/// Two or three lines over eight stations, each of three to five, none of which stands alone.
fn lines(rng: &mut ChaCha8Rng) -> Vec<Line> {
    let count = 2 + below(rng, 2) as usize;
    let draw = |at: usize, rng: &mut ChaCha8Rng| {
        let mut stations: Vec<char> = ('a'..='h').collect();
        shuffle(&mut stations, rng.next_u64());
        stations.truncate(3 + below(rng, 3) as usize);
        (COLOURS[at], stations)
    };
    let mut found: Vec<Line> = vec![draw(0, rng)];
    while found.len() < count {
        let line = draw(found.len(), rng);
        if found.iter().any(|(_, known)| line.1.iter().any(|station| known.contains(station))) {
            found.push(line);
        }
    }
    found
}

/// The routes of fewest stops from one station to another, of these all of fewest changes; none where no line leads there.
fn shortest(lines: &[Line], from: char, to: char) -> Vec<Vec<Ride>> {
    // Of each station and line what it takes to stand there: stops, changes, and the way.
    let mut open: BTreeSet<(usize, usize, String, char, usize)> = BTreeSet::new();
    let mut least: BTreeMap<(char, usize), (usize, usize)> = BTreeMap::new();
    let mut found: Vec<((usize, usize), Vec<Ride>)> = vec![];
    let begins = (0..lines.len()).filter(|&at| lines[at].1.contains(&from));
    open.extend(begins.map(|at| (0, 0, format!("{at}{from}"), from, at)));
    while let Some((stops, changes, way, station, line)) = open.pop_first() {
        let cost = (stops, changes);
        if found.first().is_some_and(|(best, _)| *best < cost) {
            break;
        }
        if station == to {
            found.push((cost, rides_of(lines, &way)));
            continue;
        }
        if *least.entry((station, line)).or_insert(cost) < cost {
            continue;
        }
        for (at, (_, stations)) in lines.iter().enumerate() {
            let Some(place) = stations.iter().position(|known| *known == station) else { continue };
            let changed = usize::from(at != line);
            // To change takes no stop; nobody changes before the first.
            if changed == 1 && stops == 0 {
                continue;
            }
            for next in [place.checked_sub(1), Some(place + 1)].into_iter().flatten() {
                let Some(&next) = stations.get(next) else { continue };
                let way = format!("{way}{at}{next}");
                open.insert((stops + 1, changes + changed, way, next, at));
            }
        }
    }
    found.into_iter().map(|(_, route)| route).collect()
}

/// A way such as `0a0b1c` as rides: from a by line 0 to b, by line 1 to c.
fn rides_of(lines: &[Line], way: &str) -> Vec<Ride> {
    let steps: Vec<char> = way.chars().collect();
    let mut rides: Vec<(usize, Vec<char>)> = vec![];
    let mut before = steps[1];
    for step in steps[2..].chunks(2) {
        let (line, station) = (step[0].to_digit(10).unwrap_or(0) as usize, step[1]);
        match rides.last_mut().filter(|(last, _)| *last == line) {
            Some((_, stations)) => stations.push(station),
            None => rides.push((line, vec![before, station])),
        }
        before = station;
    }
    rides.into_iter().map(|(line, stations)| (lines[line].0, stations)).collect()
}

fn spelt(stations: &[char]) -> String {
    stations.iter().map(char::to_string).collect::<Vec<_>>().join(" ")
}

/// Reads a route such as `red a b c; blue c d`, and how many stops it takes from one station to another.
///
/// # Errors
/// What of it cannot be ridden.
///
/// ```
/// use rationale::data::tasks::graph::rides;
/// let lines = vec![("red", vec!['a', 'b', 'c']), ("blue", vec!['c', 'd'])];
/// assert_eq!(rides(&lines, 'a', 'd', "red a b c; blue c d"), Ok(3));
/// assert_eq!(rides(&lines, 'a', 'd', "red a c; blue c d"), Err("red does not go from a to c".to_string()));
/// assert_eq!(rides(&lines, 'a', 'd', "red a b c"), Err("it ends at c".to_string()));
/// assert_eq!(rides(&lines, 'a', 'c', "red a b c; blue"), Err("blue goes nowhere".to_string()));
/// ```
pub fn rides(lines: &[Line], from: char, to: char, route: &str) -> Result<usize, String> {
    let (mut at, mut stops) = (from, 0);
    for ride in route.split(';') {
        let mut words = ride.split_whitespace();
        let colour = words.next().unwrap_or_default();
        let line = lines.iter().find(|(known, _)| *known == colour);
        let (_, stations) = line.ok_or_else(|| format!("there is no line {colour:?}"))?;
        let place = |station: char| stations.iter().position(|known| *known == station);
        let words: Vec<&str> = words.collect();
        if words.len() < 2 {
            return Err(format!("{colour} goes nowhere"));
        }
        for (number, word) in words.into_iter().enumerate() {
            let station =
                word.chars().next().filter(|_| word.len() == 1).ok_or(format!("{word:?} is no station"))?;
            if number == 0 {
                if station != at {
                    return Err(format!("{colour} begins at {station}, not at {at}"));
                }
                continue;
            }
            let next = place(at).zip(place(station)).is_some_and(|(a, b)| a.abs_diff(b) == 1);
            if !next {
                return Err(format!("{colour} does not go from {at} to {station}"));
            }
            (at, stops) = (station, stops + 1);
        }
    }
    if at == to { Ok(stops) } else { Err(format!("it ends at {at}")) }
}

pub(super) fn asked(index: usize, rng: &mut ChaCha8Rng) -> Option<Asked> {
    let lines = lines(rng);
    let map = lines.iter().map(|(colour, stations)| format!("{colour}: {}", spelt(stations)));
    let map = map.collect::<Vec<_>>().join("\n");
    let line = &lines[below(rng, lines.len() as u64) as usize];
    let more = |transfers: usize| {
        let shown: BTreeMap<&str, String> =
            lines.iter().map(|(colour, stations)| (*colour, stations.iter().collect())).collect();
        vec![("map", json!(shown)), ("transfers", json!(transfers))]
    };
    if index.is_multiple_of(3) {
        let station = char::from(b'a' + below(rng, 8) as u8);
        let answer = if line.1.contains(&station) { "yes" } else { "no" };
        return Some(Asked {
            question: format!("{map}\nis {station} on {}?", line.0),
            rationale: format!("{}: {}", line.0, spelt(&line.1)),
            answer: answer.to_string(),
            kind: "tf",
            more: more(0),
        });
    }
    if index % 3 == 1 {
        let (a, b) = (below(rng, line.1.len() as u64) as usize, below(rng, line.1.len() as u64) as usize);
        if a == b {
            return None;
        }
        let mut between: Vec<char> = line.1[a.min(b)..=a.max(b)].to_vec();
        if a > b {
            between.reverse();
        }
        return Some(Asked {
            question: format!("{map}\nhow many stops from {} to {} on {}?", line.1[a], line.1[b], line.0),
            rationale: spelt(&between),
            answer: a.abs_diff(b).to_string(),
            kind: "count",
            more: more(0),
        });
    }
    let [from, to] = [0, 1].map(|_| char::from(b'a' + below(rng, 8) as u8));
    // Of several that are as short, the question would not say which is meant.
    let [route] = &shortest(&lines, from, to)[..] else { return None };
    if route.is_empty() {
        return None;
    }
    let parts: Vec<String> =
        route.iter().map(|(colour, stations)| format!("{colour} {}", spelt(stations))).collect();
    Some(Asked {
        question: format!("{map}\nfrom {from} to {to}?"),
        rationale: parts.join("\n"),
        answer: parts.join("; "),
        kind: "plan",
        more: more(route.len() - 1),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn the_shortest_route_changes_least() {
        let lines: Vec<Line> =
            vec![("red", vec!['a', 'b', 'c', 'd']), ("blue", vec!['a', 'e', 'c']), ("gold", vec!['d', 'g'])];
        let of = |from, to| shortest(&lines, from, to);
        // Both a b c and a e c have two stops; red stays on its line to d.
        assert_eq!(of('a', 'd'), [vec![("red", vec!['a', 'b', 'c', 'd'])]]);
        // Neither changes.
        assert_eq!(of('a', 'c'), [vec![("red", vec!['a', 'b', 'c'])], vec![("blue", vec!['a', 'e', 'c'])]]);
        assert_eq!(
            of('e', 'g'),
            [vec![("blue", vec!['e', 'c']), ("red", vec!['c', 'd']), ("gold", vec!['d', 'g'])]]
        );
        assert!(of('a', 'h').is_empty() && of('h', 'a').is_empty());
        assert_eq!(of('b', 'b'), [vec![]]);
    }

    /// Every planned route can be ridden, and none is shorter: the stops are the distance in the graph, found another way.
    #[test]
    fn routes_can_be_ridden_and_none_is_shorter() {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        for _ in 0..200 {
            let lines = lines(&mut rng);
            let mut distance = [[99usize; 8]; 8];
            for (_, stations) in &lines {
                for pair in stations.windows(2) {
                    let [a, b] = [0, 1].map(|at| pair[at] as usize - 'a' as usize);
                    (distance[a][b], distance[b][a]) = (1, 1);
                }
            }
            for k in 0..8 {
                for i in 0..8 {
                    for j in 0..8 {
                        distance[i][j] = distance[i][j].min(distance[i][k] + distance[k][j]);
                    }
                }
            }
            for (from, to) in [('a', 'c'), ('b', 'h'), ('e', 'd')] {
                let known = distance[from as usize - 'a' as usize][to as usize - 'a' as usize];
                let routes = shortest(&lines, from, to);
                assert_eq!(routes.is_empty(), known >= 99);
                for route in routes {
                    let text: Vec<String> = route
                        .iter()
                        .map(|(colour, stations)| format!("{colour} {}", spelt(stations)))
                        .collect();
                    assert_eq!(rides(&lines, from, to, &text.join("; ")), Ok(known), "{lines:?} {text:?}");
                }
            }
        }
    }
}
