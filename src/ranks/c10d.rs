//! libtorch's c10d (csrc/c10d.cpp), made safe: a key-value store that all ranks reach, and a group of them.

use super::nccl::kind_and_index;
use crate::error::{taken, thrown};
use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr::null_mut;
use std::time::Duration;
use tch::{Device, Tensor};

/// What libtorch says of a call that failed.
type Result<T> = std::result::Result<T, String>;

/// A connection to a key-value store.
#[derive(Debug)]
pub(super) struct Store(*mut c_void);

/// The ranks of a run, as this one reaches them.
#[derive(Debug)]
pub(super) struct Group(*mut c_void);

/// A call of a group that is under way.
#[derive(Debug)]
pub(super) struct Pending(*mut c_void);

// SAFETY: all are reference-counted C++ objects that belong to no thread.
unsafe impl Send for Store {}
unsafe impl Send for Group {}
unsafe impl Send for Pending {}

impl Store {
    /// Reaches the store at `host` within `limit`, or holds it there where it `serves`; with its port, which is any that is free for 0.
    pub fn open(host: &str, port: u16, serves: bool, limit: Duration) -> Result<(Self, u16)> {
        let (host, mut out, mut bound) = (text(host)?, null_mut(), 0);
        // SAFETY: `out` and `bound` are set when no message comes back.
        check(unsafe {
            rationale_store_open(host.as_ptr(), port, serves, millis(limit), &mut out, &mut bound)
        })?;
        Ok((Self(out), bound))
    }

    /// The same store for keys that all begin with `prefix`, over a connection of its own.
    pub fn under(&self, prefix: &str) -> Result<Self> {
        let (prefix, mut out) = (text(prefix)?, null_mut());
        // SAFETY: as above, and `self` is alive.
        check(unsafe { rationale_store_under(self.0, prefix.as_ptr(), &mut out) })?;
        Ok(Self(out))
    }

    pub fn set(&self, key: &str, value: &str) -> Result<()> {
        let (key, value) = (text(key)?, text(value)?);
        // SAFETY: two C strings that live on.
        check(unsafe { rationale_store_set(self.0, key.as_ptr(), value.as_ptr()) })
    }

    /// Sets the key where it has no value yet.
    pub fn claim(&self, key: &str, value: &str) -> Result<()> {
        let (key, value) = (text(key)?, text(value)?);
        // SAFETY: two C strings that live on.
        check(unsafe { rationale_store_claim(self.0, key.as_ptr(), value.as_ptr()) })
    }

    /// The key's value, where it has one.
    pub fn look(&self, key: &str) -> Result<Option<String>> {
        let (key, mut out) = (text(key)?, null_mut());
        // SAFETY: `out` is null, or a C string that is ours to free.
        check(unsafe { rationale_store_look(self.0, key.as_ptr(), &mut out) })?;
        if out.is_null() {
            return Ok(None);
        }
        Ok(Some(unsafe { taken(out) }))
    }

    /// Adds to a counter that begins with 0; what it comes to.
    pub fn add(&self, key: &str, by: i64) -> Result<i64> {
        let (key, mut out) = (text(key)?, 0);
        // SAFETY: `out` is set when no message comes back.
        check(unsafe { rationale_store_add(self.0, key.as_ptr(), by, &mut out) })?;
        Ok(out)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // SAFETY: it was made by one of the functions above and is used no more.
        unsafe { rationale_store_close(self.0) }
    }
}

/// How the others reach this machine.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Reached {
    /// By the machine's own name.
    ByName,
    /// By this address.
    At(String),
    /// Through this network interface.
    Through(String),
}

impl Group {
    /// Meets the other ranks through `store`. No call of it waits longer than `limit`.
    pub fn open(
        store: &Store,
        rank: usize,
        count: usize,
        reached: &Reached,
        limit: Duration,
    ) -> Result<Self> {
        let (host, interface) = match reached {
            Reached::ByName => (None, None),
            Reached::At(host) => (Some(text(host)?), None),
            Reached::Through(interface) => (None, Some(text(interface)?)),
        };
        let pointer = |text: &Option<CString>| text.as_ref().map_or(std::ptr::null(), |text| text.as_ptr());
        let number = |n: usize| i32::try_from(n).map_err(|_| format!("{n} ranks"));
        let (rank, count, mut out) = (number(rank)?, number(count)?, null_mut());
        // SAFETY: strings that live on, or null; `out` is set when no message comes back.
        check(unsafe {
            rationale_group_open(
                store.0,
                rank,
                count,
                pointer(&host),
                pointer(&interface),
                millis(limit),
                &mut out,
            )
        })?;
        Ok(Self(out))
    }

    /// How long a call waits for the others from here on.
    pub fn limit(&self, limit: Duration) -> Result<()> {
        // SAFETY: `self` is alive.
        check(unsafe { rationale_group_limit(self.0, millis(limit)) })
    }

    /// Has NCCL, whose library `opens` it, carry the tensors of `device` from here on. All ranks make the call; `store` is for this alone.
    pub fn carry(&self, store: &Store, opens: OpensNccl, device: Device) -> Result<()> {
        let (kind, index) = kind_and_index(device);
        // SAFETY: both are alive, and the C++ side keeps a handle of the store; `opens` is of a library that is made for this program.
        check(unsafe { rationale_group_carry(self.0, store.0, opens, kind, index) })
    }

    /// Has Gloo carry all tensors.
    pub fn let_go(&self) -> Result<()> {
        // SAFETY: `self` is alive.
        check(unsafe { rationale_group_let_go(self.0) })
    }

    /// Replaces each tensor by its sum over all ranks.
    pub fn sum(&self, tensors: &[Tensor]) -> Result<()> {
        let pointers: Vec<*const c_void> = tensors.iter().map(|t| t.as_ptr() as *const c_void).collect();
        // SAFETY: an array of live tensors.
        check(unsafe { rationale_group_sum(self.0, pointers.as_ptr(), pointers.len()) })
    }

    /// Replaces each number by its sum over all ranks, or by its maximum.
    pub fn numbers(&self, numbers: &mut [f64], maximum: bool) -> Result<()> {
        // SAFETY: as many numbers as is said, which are written to before the call returns.
        check(unsafe { rationale_group_numbers(self.0, numbers.as_mut_ptr(), numbers.len(), maximum) })
    }

    /// The tensors of all ranks, which are of one shape, end to end.
    pub fn gather(&self, own: &Tensor) -> Result<Tensor> {
        self.gather_on(own, false)
    }

    /// The same of a tensor on the CPU that only says something of what ranks do; no device takes part.
    pub fn gather_words(&self, own: &Tensor) -> Result<Tensor> {
        self.gather_on(own, true)
    }

    fn gather_on(&self, own: &Tensor, control: bool) -> Result<Tensor> {
        let mut out = null_mut();
        // SAFETY: a live tensor; `out` was made by `new at::Tensor`, as tch's own are, and is owned by nobody else.
        check(unsafe { rationale_group_gather(self.0, own.as_ptr() as *const c_void, control, &mut out) })?;
        Ok(unsafe { Tensor::from_ptr(out.cast()) })
    }

    /// Begins to gather the flat tensors of all ranks, which are of one size, into `all`, end to end.
    pub fn begin_gather(&self, own: &Tensor, all: &Tensor) -> Result<Pending> {
        self.begin(rationale_group_begin_gather, own, all)
    }

    /// Begins to send each rank its one of `parts`, equal parts of a flat tensor, and to receive the others' for this one.
    pub fn begin_exchange(&self, parts: &Tensor, received: &Tensor) -> Result<Pending> {
        self.begin(rationale_group_begin_exchange, parts, received)
    }

    fn begin(&self, call: Begin, sent: &Tensor, received: &Tensor) -> Result<Pending> {
        let mut out = null_mut();
        let [sent, received] = [sent, received].map(|tensor| tensor.as_ptr() as *const c_void);
        // SAFETY: two live tensors, of which the C++ side keeps handles; `out` is set when no message comes back.
        check(unsafe { call(self.0, sent, received, &mut out) })?;
        Ok(Pending(out))
    }
}

impl Pending {
    /// Waits until it is done.
    pub fn finish(self) -> Result<()> {
        // SAFETY: it was made by `begin` and is alive.
        check(unsafe { rationale_pending_finish(self.0) })
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        // SAFETY: it was made by `begin` and is used no more.
        unsafe { rationale_pending_close(self.0) }
    }
}

/// What opens NCCL (csrc/nccl/interface.h); a `c10d::Backend` in `out`.
pub(super) type OpensNccl = unsafe extern "C" fn(
    store: *const c_void,
    rank: i32,
    count: i32,
    device: i32,
    millis: i64,
    out: *mut c_void,
) -> *mut c_char;

/// What the library of NCCL has to be made for.
pub(super) fn nccl_expected() -> &'static str {
    // SAFETY: a constant text.
    unsafe { CStr::from_ptr(rationale_nccl_expected()) }.to_str().unwrap_or_default()
}

type Begin = unsafe extern "C" fn(*mut c_void, *const c_void, *const c_void, *mut *mut c_void) -> *mut c_char;

impl Drop for Group {
    fn drop(&mut self) {
        // SAFETY: it was made by `open` and is used no more.
        unsafe { rationale_group_close(self.0) }
    }
}

fn text(text: &str) -> Result<CString> {
    CString::new(text).map_err(|error| error.to_string())
}

fn millis(limit: Duration) -> i64 {
    i64::try_from(limit.as_millis()).unwrap_or(i64::MAX)
}

fn check(message: *mut c_char) -> Result<()> {
    // SAFETY: it comes from csrc/c10d.cpp. Of what libtorch says the first line is for readers.
    unsafe { thrown(message) }.map_err(|text| text.lines().next().unwrap_or_default().to_string())
}

unsafe extern "C" {
    fn rationale_store_open(
        host: *const c_char,
        port: u16,
        serves: bool,
        millis: i64,
        out: *mut *mut c_void,
        bound: *mut u16,
    ) -> *mut c_char;
    fn rationale_store_under(store: *mut c_void, prefix: *const c_char, out: *mut *mut c_void)
    -> *mut c_char;
    fn rationale_store_set(store: *mut c_void, key: *const c_char, value: *const c_char) -> *mut c_char;
    fn rationale_store_claim(store: *mut c_void, key: *const c_char, value: *const c_char) -> *mut c_char;
    fn rationale_store_look(store: *mut c_void, key: *const c_char, out: *mut *mut c_char) -> *mut c_char;
    fn rationale_store_add(store: *mut c_void, key: *const c_char, by: i64, out: *mut i64) -> *mut c_char;
    fn rationale_store_close(store: *mut c_void);
    fn rationale_group_open(
        store: *mut c_void,
        rank: i32,
        count: i32,
        host: *const c_char,
        interface: *const c_char,
        millis: i64,
        out: *mut *mut c_void,
    ) -> *mut c_char;
    fn rationale_nccl_expected() -> *const c_char;
    fn rationale_group_carry(
        group: *mut c_void,
        store: *mut c_void,
        opens: OpensNccl,
        kind: i32,
        index: i32,
    ) -> *mut c_char;
    fn rationale_group_let_go(group: *mut c_void) -> *mut c_char;
    fn rationale_group_limit(group: *mut c_void, millis: i64) -> *mut c_char;
    fn rationale_group_sum(group: *mut c_void, tensors: *const *const c_void, n: usize) -> *mut c_char;
    fn rationale_group_numbers(group: *mut c_void, numbers: *mut f64, n: usize, maximum: bool)
    -> *mut c_char;
    fn rationale_group_gather(
        group: *mut c_void,
        own: *const c_void,
        control: bool,
        out: *mut *mut c_void,
    ) -> *mut c_char;
    fn rationale_group_begin_gather(
        group: *mut c_void,
        own: *const c_void,
        all: *const c_void,
        out: *mut *mut c_void,
    ) -> *mut c_char;
    fn rationale_group_begin_exchange(
        group: *mut c_void,
        parts: *const c_void,
        received: *const c_void,
        out: *mut *mut c_void,
    ) -> *mut c_char;
    fn rationale_pending_finish(call: *mut c_void) -> *mut c_char;
    fn rationale_pending_close(call: *mut c_void);
    fn rationale_group_close(group: *mut c_void);
}
