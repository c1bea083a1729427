//! The virtual file system, as SQLite calls it: the one module with unsafe code.
//!
//! Each of SQLite's files of ours is followed, in the memory that SQLite allots for it, by that of the file system beneath:
//!
//! ```text
//! sqlite3_file (methods) │ *mut State │ the file beneath
//! ```
//! What is assumed is what SQLite promises of a file system (<https://sqlite.org/c3ref/vfs.html>, io_methods.html): a file's
//! methods are called only between a successful `xOpen` and `xClose`, by one thread at a time, with pointers that are valid
//! for the lengths given; and that the system's own file system keeps to the same.
#![expect(
    unsafe_code,
    reason = "SQLite's file systems are C structures of pointers; this module is all that knows them"
)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::mem::size_of;
use std::ptr::null_mut;
use std::slice;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rusqlite::ffi::{
    self, sqlite3_file, sqlite3_filename, sqlite3_int64, sqlite3_io_methods, sqlite3_vfs, sqlite3_vfs_find,
    sqlite3_vfs_register, sqlite3_vfs_unregister,
};

use crate::Key;
use crate::slots::{Disk, Failure, Layout, Slots};

/// A file system registered with SQLite under a name of its own, whose files are sealed with one key.
pub(crate) struct FileSystem {
    registered: *mut sqlite3_vfs,
}

/// What a registered file system has beside SQLite's structure.
struct Context {
    /// The system's own.
    beneath: *mut sqlite3_vfs,
    /// Gone when the connection is closed.
    key: Mutex<Option<Key>>,
    name: CString,
}

// SAFETY: the pointer leads to what `FileSystem::new` made, of which only `Context::key` is ever changed, under its lock.
unsafe impl Send for FileSystem {}

impl FileSystem {
    /// Registers one for this key.
    pub(crate) fn new(key: &Key) -> rusqlite::Result<Self> {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let name = format!("knothole-vault-{}", LAST.fetch_add(1, Ordering::Relaxed));
        let name = CString::new(name).map_err(rusqlite::Error::NulError)?;
        // SAFETY: finding the default has no conditions; null is answered where there is none.
        let beneath =
            unsafe { sqlite3_vfs_find(std::ptr::null()).as_mut() }.ok_or_else(|| failed(ffi::SQLITE_ERROR))?;
        // Neither is ever freed, some 300 bytes: a connection, which may be moved anywhere, holds SQLite's pointer to them.
        let context = Box::leak(Box::new(Context { beneath, key: Mutex::new(Some(key.clone())), name }));
        let registered = Box::leak(Box::new(sqlite3_vfs {
            iVersion: 2,
            szOsFile: beneath.szOsFile.saturating_add(c_int::try_from(size_of::<File>()).unwrap_or(c_int::MAX)),
            mxPathname: beneath.mxPathname,
            pNext: null_mut(),
            zName: context.name.as_ptr(),
            pAppData: std::ptr::from_mut(context).cast(),
            xOpen: Some(open),
            xDelete: Some(delete),
            xAccess: Some(access),
            xFullPathname: Some(full_path),
            xDlOpen: None,
            xDlError: None,
            xDlSym: None,
            xDlClose: None,
            xRandomness: Some(randomness),
            xSleep: Some(sleep),
            xCurrentTime: Some(current_time),
            xGetLastError: Some(last_error),
            xCurrentTimeInt64: Some(current_time_int64),
            xSetSystemCall: None,
            xGetSystemCall: None,
            xNextSystemCall: None,
        }));
        let registered = std::ptr::from_mut(registered);
        // SAFETY: the structure is complete and lives for ever.
        match unsafe { sqlite3_vfs_register(registered, 0) } {
            ffi::SQLITE_OK => Ok(Self { registered }),
            code => Err(failed(code)),
        }
    }

    /// Its name.
    pub(crate) fn name(&self) -> &CStr {
        // SAFETY: `registered` was made by `new` and is never freed.
        unsafe { context(self.registered) }.name.as_c_str()
    }
}

impl Drop for FileSystem {
    fn drop(&mut self) {
        // SAFETY: it was registered by `new`; files that are open still go on, since nothing is freed.
        unsafe {
            sqlite3_vfs_unregister(self.registered);
            context(self.registered).key.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
    }
}

fn failed(code: c_int) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)
}

/// A file as SQLite has it.
#[repr(C)]
struct File {
    base: sqlite3_file,
    state: *mut State,
}

/// What a file of ours has beside the file beneath.
struct State {
    slots: Slots,
    beneath: Beneath,
}

/// The file of the file system beneath, as the bytes to seal.
#[derive(Clone, Copy)]
struct Beneath(*mut sqlite3_file);

static METHODS: sqlite3_io_methods = sqlite3_io_methods {
    // Version 1: neither memory shared between processes nor files mapped into it, which would show what is not sealed.
    iVersion: 1,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: None,
    xShmLock: None,
    xShmBarrier: None,
    xShmUnmap: None,
    xFetch: None,
    xUnfetch: None,
};

/// # Safety
/// `registered` is a file system of ours.
unsafe fn context<'a>(registered: *mut sqlite3_vfs) -> &'a Context {
    // SAFETY: `pAppData` was made a `Context` by `FileSystem::new`, and is never freed.
    unsafe { &*(*registered).pAppData.cast::<Context>() }
}

/// # Safety
/// `file` was opened by `open`, is not closed, and nothing else refers to its state.
unsafe fn state<'a>(file: *mut sqlite3_file) -> &'a mut State {
    // SAFETY: `open` put a state there that lives until `close`.
    unsafe { &mut *(*file.cast::<File>()).state }
}

/// Calls a method of a file beneath, or says that it has none.
macro_rules! beneath {
    ($file:expr, $method:ident $(, $argument:expr)*) => {{
        let file: *mut sqlite3_file = $file;
        // SAFETY: the file is open, so its methods are there; the arguments are SQLite's own, or buffers with their lengths.
        unsafe {
            match (*(*file).pMethods).$method {
                Some(method) => method(file $(, $argument)*),
                None => ffi::SQLITE_IOERR,
            }
        }
    }};
}

/// Calls a method of the file system beneath, or says that it has none.
macro_rules! system {
    ($registered:expr, $method:ident $(, $argument:expr)*) => {{
        // SAFETY: SQLite calls with the file system of ours that it knows; the arguments are its own.
        unsafe {
            let beneath = context($registered).beneath;
            match (*beneath).$method {
                Some(method) => method(beneath $(, $argument)*),
                None => ffi::SQLITE_ERROR,
            }
        }
    }};
}

impl Disk for Beneath {
    type Error = c_int;

    fn read(&mut self, buffer: &mut [u8], at: u64) -> Result<usize, c_int> {
        let (length, at) = extent(buffer.len(), at).ok_or(ffi::SQLITE_IOERR_READ)?;
        match beneath!(self.0, xRead, buffer.as_mut_ptr().cast(), length, at) {
            ffi::SQLITE_OK => Ok(buffer.len()),
            // How much there is, SQLite's file systems do not say: a slot that is not whole is none.
            ffi::SQLITE_IOERR_SHORT_READ => Ok(0),
            code => Err(code),
        }
    }

    fn write(&mut self, bytes: &[u8], at: u64) -> Result<(), c_int> {
        let (length, at) = extent(bytes.len(), at).ok_or(ffi::SQLITE_IOERR_WRITE)?;
        match beneath!(self.0, xWrite, bytes.as_ptr().cast(), length, at) {
            ffi::SQLITE_OK => Ok(()),
            code => Err(code),
        }
    }
}

fn extent(length: usize, at: u64) -> Option<(c_int, sqlite3_int64)> {
    Some((c_int::try_from(length).ok()?, sqlite3_int64::try_from(at).ok()?))
}

fn told(outcome: Result<(), Failure<c_int>>, misfit: c_int) -> c_int {
    match outcome {
        Ok(()) => ffi::SQLITE_OK,
        Err(Failure::Disk(code)) => code,
        Err(Failure::Damaged) => ffi::SQLITE_CORRUPT,
        Err(Failure::Short) => ffi::SQLITE_IOERR_SHORT_READ,
        Err(Failure::Misfit) => misfit,
    }
}

unsafe extern "C" fn open(
    registered: *mut sqlite3_vfs,
    name: sqlite3_filename,
    file: *mut sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    // SAFETY: SQLite allotted `szOsFile` bytes; without methods it takes the file for not opened.
    unsafe { (*file).pMethods = std::ptr::null() };
    let (layout, purpose) = if flags & ffi::SQLITE_OPEN_MAIN_DB != 0 {
        (Layout::Database, "database")
    } else if flags & ffi::SQLITE_OPEN_WAL != 0 {
        (Layout::Log, "log")
    } else {
        // Rollback journals and temporary files: there is no need for them, and they would not be sealed.
        return ffi::SQLITE_CANTOPEN;
    };
    // SAFETY: SQLite calls with the file system of ours that it knows.
    let key = unsafe { context(registered) }.key.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let Some(cipher) = key.and_then(|key| key.cipher(purpose)) else { return ffi::SQLITE_CANTOPEN };
    // SAFETY: the room for the file beneath follows ours, as `szOsFile` says; `File` is a multiple of 8 bytes long.
    let beneath = unsafe { file.cast::<u8>().add(size_of::<File>()).cast::<sqlite3_file>() };
    let code = system!(registered, xOpen, name, beneath, flags, out_flags);
    if code == ffi::SQLITE_OK {
        let state = Box::new(State { slots: Slots::new(layout, cipher), beneath: Beneath(beneath) });
        let opened = File { base: sqlite3_file { pMethods: &raw const METHODS }, state: Box::into_raw(state) };
        // SAFETY: SQLite allotted the room, and nothing in it needs dropping.
        unsafe { file.cast::<File>().write(opened) };
    }
    code
}

unsafe extern "C" fn close(file: *mut sqlite3_file) -> c_int {
    // SAFETY: SQLite closes a file once, and uses it no more.
    let state = unsafe { Box::from_raw((*file.cast::<File>()).state) };
    beneath!(state.beneath.0, xClose)
}

unsafe extern "C" fn read(file: *mut sqlite3_file, buffer: *mut c_void, length: c_int, at: sqlite3_int64) -> c_int {
    let (Ok(length), Ok(at)) = (usize::try_from(length), u64::try_from(at)) else { return ffi::SQLITE_IOERR_READ };
    // SAFETY: the file is open, and the buffer is as long as SQLite says.
    let (state, target) = unsafe { (state(file), slice::from_raw_parts_mut(buffer.cast::<u8>(), length)) };
    told(state.slots.read(&mut state.beneath, target, at), ffi::SQLITE_IOERR_READ)
}

unsafe extern "C" fn write(file: *mut sqlite3_file, bytes: *const c_void, length: c_int, at: sqlite3_int64) -> c_int {
    let (Ok(length), Ok(at)) = (usize::try_from(length), u64::try_from(at)) else { return ffi::SQLITE_IOERR_WRITE };
    // SAFETY: the file is open, and there are as many bytes as SQLite says.
    let (state, bytes) = unsafe { (state(file), slice::from_raw_parts(bytes.cast::<u8>(), length)) };
    told(state.slots.write(&mut state.beneath, bytes, at), ffi::SQLITE_IOERR_WRITE)
}

unsafe extern "C" fn truncate(file: *mut sqlite3_file, size: sqlite3_int64) -> c_int {
    // SAFETY: the file is open.
    let state = unsafe { state(file) };
    let sealed = u64::try_from(size).ok().map(|size| state.slots.layout().sealed_size(size));
    match sealed.and_then(|sealed| sqlite3_int64::try_from(sealed).ok()) {
        Some(sealed) => beneath!(state.beneath.0, xTruncate, sealed),
        None => ffi::SQLITE_IOERR_TRUNCATE,
    }
}

unsafe extern "C" fn sync(file: *mut sqlite3_file, flags: c_int) -> c_int {
    // SAFETY: the file is open.
    beneath!(unsafe { state(file) }.beneath.0, xSync, flags)
}

unsafe extern "C" fn file_size(file: *mut sqlite3_file, size: *mut sqlite3_int64) -> c_int {
    // SAFETY: the file is open.
    let state = unsafe { state(file) };
    let mut sealed: sqlite3_int64 = 0;
    let code = beneath!(state.beneath.0, xFileSize, &raw mut sealed);
    if code == ffi::SQLITE_OK {
        let found = state.slots.layout().size(sealed.unsigned_abs());
        // SAFETY: SQLite gives a place for the answer.
        unsafe { *size = sqlite3_int64::try_from(found).unwrap_or(sqlite3_int64::MAX) };
    }
    code
}

unsafe extern "C" fn lock(file: *mut sqlite3_file, level: c_int) -> c_int {
    // SAFETY: the file is open.
    beneath!(unsafe { state(file) }.beneath.0, xLock, level)
}

unsafe extern "C" fn unlock(file: *mut sqlite3_file, level: c_int) -> c_int {
    // SAFETY: the file is open.
    beneath!(unsafe { state(file) }.beneath.0, xUnlock, level)
}

unsafe extern "C" fn check_reserved_lock(file: *mut sqlite3_file, answer: *mut c_int) -> c_int {
    // SAFETY: the file is open.
    beneath!(unsafe { state(file) }.beneath.0, xCheckReservedLock, answer)
}

unsafe extern "C" fn file_control(file: *mut sqlite3_file, operation: c_int, argument: *mut c_void) -> c_int {
    match operation {
        // Hints about sizes, which are others beneath; and mapping, of which there is none.
        ffi::SQLITE_FCNTL_SIZE_HINT | ffi::SQLITE_FCNTL_CHUNK_SIZE | ffi::SQLITE_FCNTL_MMAP_SIZE => ffi::SQLITE_OK,
        // SAFETY: the file is open.
        _ => beneath!(unsafe { state(file) }.beneath.0, xFileControl, operation, argument),
    }
}

unsafe extern "C" fn sector_size(file: *mut sqlite3_file) -> c_int {
    // SAFETY: the file is open.
    beneath!(unsafe { state(file) }.beneath.0, xSectorSize)
}

/// That a write which fails harms nothing beside it, as SQLite assumes of files by default: it then writes its log in whole
/// slots. Nothing more is promised, such as parts of pages that could be read by themselves.
unsafe extern "C" fn device_characteristics(_file: *mut sqlite3_file) -> c_int {
    ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE
}

unsafe extern "C" fn delete(registered: *mut sqlite3_vfs, name: *const c_char, sync_directory: c_int) -> c_int {
    system!(registered, xDelete, name, sync_directory)
}

unsafe extern "C" fn access(
    registered: *mut sqlite3_vfs,
    name: *const c_char,
    flags: c_int,
    answer: *mut c_int,
) -> c_int {
    system!(registered, xAccess, name, flags, answer)
}

unsafe extern "C" fn full_path(
    registered: *mut sqlite3_vfs,
    name: *const c_char,
    length: c_int,
    path: *mut c_char,
) -> c_int {
    system!(registered, xFullPathname, name, length, path)
}

unsafe extern "C" fn randomness(registered: *mut sqlite3_vfs, length: c_int, bytes: *mut c_char) -> c_int {
    system!(registered, xRandomness, length, bytes)
}

unsafe extern "C" fn sleep(registered: *mut sqlite3_vfs, microseconds: c_int) -> c_int {
    system!(registered, xSleep, microseconds)
}

unsafe extern "C" fn current_time(registered: *mut sqlite3_vfs, time: *mut f64) -> c_int {
    system!(registered, xCurrentTime, time)
}

unsafe extern "C" fn last_error(registered: *mut sqlite3_vfs, length: c_int, text: *mut c_char) -> c_int {
    system!(registered, xGetLastError, length, text)
}

unsafe extern "C" fn current_time_int64(registered: *mut sqlite3_vfs, time: *mut sqlite3_int64) -> c_int {
    system!(registered, xCurrentTimeInt64, time)
}
