//! Shared libraries that are loaded where they are there: what the program is not linked against.

use std::ffi::{CStr, CString, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A library that is loaded, and stays so until the process ends.
#[derive(Debug, Clone, Copy)]
pub struct Library(*mut c_void);

// SAFETY: the loader's functions may be called by any thread.
unsafe impl Send for Library {}
unsafe impl Sync for Library {}

/// Who sees a library's symbols.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// Who asks the library for them.
    Alone,
    /// Libraries that are loaded after it too.
    ByAll,
}

impl Library {
    /// Loads `file`: a path, or a name without a folder that the loader looks for. Its initialisers run.
    ///
    /// # Errors
    /// Why it does not load, with the remedy where one is known.
    pub fn load(file: &Path, seen: Seen) -> Result<Self, String> {
        let name = CString::new(file.as_os_str().as_bytes())
            .map_err(|_| format!("{}: a zero byte in a path", file.display()))?;
        let flags = libc::RTLD_NOW | if seen == Seen::ByAll { libc::RTLD_GLOBAL } else { libc::RTLD_LOCAL };
        // SAFETY: a path that ends with 0.
        let loaded = unsafe { libc::dlopen(name.as_ptr(), flags) };
        if loaded.is_null() { Err(refusal(file)) } else { Ok(Self(loaded)) }
    }

    /// Whether a library of this name is loaded.
    pub fn is_loaded(name: &CStr) -> bool {
        // SAFETY: a C string; nothing is loaded.
        !unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_NOLOAD) }.is_null()
    }

    /// The function `name`, where it has one.
    ///
    /// # Safety
    /// `F` is the type of a pointer to that function.
    pub unsafe fn function<F: Copy>(self, name: &CStr) -> Option<F> {
        const { assert!(size_of::<F>() == size_of::<*mut c_void>()) }
        // SAFETY: a library that is loaded; a function's address and a pointer to it are of one size.
        unsafe {
            let address = libc::dlsym(self.0, name.as_ptr());
            (!address.is_null()).then(|| std::mem::transmute_copy(&address))
        }
    }
}

/// Why the loader has just refused `file`.
fn refusal(file: &Path) -> String {
    // SAFETY: asked for in the thread whose dlopen failed; the text is copied before any other call of the loader.
    let said = unsafe { libc::dlerror() };
    if said.is_null() {
        return format!("{}: the loader gives no reason", file.display());
    }
    // SAFETY: dlerror gives a C string.
    let said = unsafe { CStr::from_ptr(said) }.to_string_lossy().into_owned();
    let missing = said.contains("cannot open shared object file");
    let remedy = if missing { "; add the folder of that library to LD_LIBRARY_PATH" } else { "" };
    format!("{}: {said}{remedy}", file.display())
}
