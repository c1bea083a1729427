//! Opening a TUN device: the one place in the tests with `unsafe`, since TUNSETIFF is an ioctl.
#![expect(unsafe_code, reason = "TUNSETIFF has no safe wrapper; reviewed: one call, whose argument outlives it")]

use std::{
    fs::{File, OpenOptions},
    io,
    os::{fd::AsRawFd, unix::fs::OpenOptionsExt},
};

use nix::libc;

// The kernel's header says `int`, but what the pointer leads to is an `ifreq`: hence the "bad" form.
nix::ioctl_write_ptr_bad!(
    /// Makes the open file the device that the `ifreq` names.
    tun_set_iff,
    nix::request_code_write!(b'T', 202, size_of::<libc::c_int>()),
    libc::ifreq
);

/// Makes the TUN device `name` in the calling thread's network namespace. Each read and write on it is one IP packet,
/// nothing before it and nothing left to the hardware: checksums are complete and segments small. It does not block,
/// and the device goes when the file is closed.
pub(super) fn open(name: &str) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun")?;
    let mut ifr_name = [0; libc::IFNAMSIZ];
    // The last byte stays 0: the name is a C string.
    for (to, from) in ifr_name[..libc::IFNAMSIZ - 1].iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    let ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    let request = libc::ifreq { ifr_name, ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags } };
    // SAFETY: the descriptor is open, and the kernel reads and writes `request`, an `ifreq`, only during the call.
    unsafe { tun_set_iff(file.as_raw_fd(), &request) }?;
    Ok(file)
}
