//! The programs, a probe family a file; maps, emission and reads of kernel memory each in one place.

mod emit;
mod file;
mod inspect;
mod lifecycle;
mod maps;
mod nothing;
mod read;
mod stall;
mod types;
mod window;

/// The kernel lets only GPL-compatible programs read its memory.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    // The verifier refuses a program that could get here: nothing in these programs can panic.
    loop {}
}
