//! The slots of sleeping writers: two may share one, and one is stale when the hook missed a wake-up.

use crate::support::helper;
use crate::support::proc::boot_ns;
use crate::traced::Traced;
use crate::writer::{THRESHOLD, Writer, own_times, stall};

/// The slots of sleeping writers, a map of the session's hook.
fn slots(traced: &Traced) -> aya::maps::Array<aya::maps::MapData, [u8; SLOT_BYTES]> {
    let (hook, _) = traced.hook_now().expect("the hook");
    let data = aya::maps::MapData::from_pin(hook.join(tracer_ebpf::names::SLOTS)).unwrap();
    aya::maps::Array::try_from(aya::maps::Map::Array(data)).unwrap()
}

const SLOT_BYTES: usize = size_of::<tracer_ebpf::wire::WriterSlot>();

/// The hook may miss that a thread wakes up. Its slot then shows it as asleep for the rest of its life.
#[test]
fn a_wake_up_that_the_hook_missed_ends_the_stall_all_the_same() {
    let mut child = helper::held("stalls", &["pipe", "write"]);
    let Some(mut traced) = Traced::of(&mut child, THRESHOLD) else { return };
    let writer = Writer::of(&mut child);
    let open = writer.opened(&mut traced);
    // As if the hook had missed it: the slot is empty while the thread wakes up.
    let mut slots = slots(&traced);
    let index = writer.tid & (tracer_ebpf::limits::WRITER_SLOTS - 1);
    let asleep = slots.get(&index, 0).unwrap();
    slots.set(index, [0; SLOT_BYTES], 0).unwrap();
    child.send_line("release");
    let (_, to) = own_times(&mut child);
    slots.set(index, asleep, 0).unwrap();
    let closed = writer.closed(&mut traced, stall(&open).since_boot_ns);
    assert_eq!((stall(&open).end_seen, stall(&closed).end_seen), (None, Some(false)));
    assert!(closed.boot_ns >= to, "found afterwards: {closed:?}, awake at {to}");
    for _ in 0..5 {
        traced.collect();
    }
    child.send_line("end");
    assert!(child.wait().success());
    traced.until_exit(writer.process);
    assert_eq!(traced.stalls().count(), 2, "{:?}", traced.events);
    slots.set(index, [0; SLOT_BYTES], 0).unwrap();
    traced.finish();
}

/// Two threads whose ids share their low bits share a slot. Where ids end at 32768 there are no two such
/// threads, so a thread that does not exist takes the slot first.
#[test]
fn a_writer_whose_slot_is_taken_is_reported_all_the_same() {
    use tracer_ebpf::limits::WRITER_SLOTS;

    let mut child = helper::held("stalls_on_request", &[]);
    let Some(mut traced) = Traced::of(&mut child, THRESHOLD) else { return };
    let writer = Writer::of(&mut child);
    let mut slots = slots(&traced);
    let index = writer.tid & (WRITER_SLOTS - 1);

    let mut taken = [0; SLOT_BYTES];
    taken[..4].copy_from_slice(&(writer.tid + WRITER_SLOTS).to_le_bytes());
    taken[8..16].copy_from_slice(&boot_ns().to_le_bytes());
    slots.set(index, taken, 0).unwrap();
    child.send_line("begin");
    let open = writer.opened(&mut traced);
    let count = u32::from_le_bytes(slots.get(&index, 0).unwrap()[4..8].try_into().unwrap());
    assert_eq!(count, 1, "the slot counts the second one");
    child.send_line("release");
    let (from, to) = own_times(&mut child);
    let closed = writer.closed(&mut traced, stall(&open).since_boot_ns);
    let after = slots.get(&index, 0).unwrap();
    slots.set(index, [0; SLOT_BYTES], 0).unwrap();
    assert!(child.wait().success());
    assert!(from <= stall(&open).since_boot_ns);
    assert!(closed.boot_ns <= to || stall(&closed).end_seen == Some(false));
    assert_eq!(
        after[..8],
        [&taken[..4], &[0; 4][..]].concat(),
        "the first one stays, and the second one is gone"
    );
    assert_eq!(stall(&open).fd, Some(writer.fd));
    traced.until_exit(writer.process);
    assert_eq!(traced.stalls().count(), 2, "{:?}", traced.events);
    traced.finish();
}
