//! How the C library's allocator keeps memory.

/// Allocators beside each other; each keeps what its threads freed.
const ARENAS: libc::c_int = 2;
/// From this size on memory goes back to the system as soon as it is freed: decoded pictures, whole fragments.
const RETURNED_BYTES: libc::c_int = 256 * 1024;

/// Tells the allocator to keep little. Call once, before there are threads.
///
/// By default each thread gets an arena and the size of what goes back to the system grows with use, which for a program
/// of many threads and large, short-lived buffers means that it holds several times what it uses.
// The call has no safe wrapper; it takes two numbers and touches no memory of ours.
#[allow(unsafe_code)]
pub fn keep_small() {
    // SAFETY: mallopt(3) may be called at any time; unknown parameters are refused by returning 0.
    let taken = unsafe {
        libc::mallopt(libc::M_ARENA_MAX, ARENAS) != 0
            && libc::mallopt(libc::M_MMAP_THRESHOLD, RETURNED_BYTES) != 0
    };
    if !taken {
        tracing::debug!("the allocator keeps its own ways");
    }
}
