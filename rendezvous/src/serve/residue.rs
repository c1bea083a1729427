//! What work leaves behind on a thread's stack: copies of keys in frames that nobody uses any more, until others happen to lie
//! over them. Who has gone shall not be found there, in a dump or in a machine's swap.
//!
//! The heap is wiped by the program's allocator, and the table of registrations by itself.

use std::hint::black_box;

/// How deep the frames lie that see who somebody is: a handshake's are the deepest.
const DEPTH: usize = 64 << 10;

/// Writes zeros below the caller's frame: where the frames were of what it called before. Takes a microsecond or two.
#[inline(never)]
pub fn wipe_stack() {
    let mut below = [0_u8; DEPTH];
    // Or the compiler would see that nobody reads what has just been written.
    black_box(&mut below);
}
