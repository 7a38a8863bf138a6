//! The slots that sleeping writers take: shared, and stale when a wake-up was not seen.

use crate::play::{Player, boot_ns};
use crate::traced::Traced;
use crate::writer::{THRESHOLD, Writer, own_times, stall};

/// The slots of sleeping writers, which the hook of the session keeps.
fn slots(traced: &Traced) -> aya::maps::Array<aya::maps::MapData, [u8; SLOT_BYTES]> {
    let (hook, _) = traced.hook_now().expect("the hook");
    let data = aya::maps::MapData::from_pin(hook.join(tracer_ebpf::names::SLOTS)).unwrap();
    aya::maps::Array::try_from(aya::maps::Map::Array(data)).unwrap()
}

const SLOT_BYTES: usize = size_of::<tracer_ebpf::wire::WriterSlot>();

/// The hook may miss that a thread comes back: then its slot says that it sleeps, for as long as it lives.
#[test]
fn a_wake_up_that_the_hook_does_not_see_ends_the_stall_all_the_same() {
    let mut player = Player::held("stalls", &["pipe", "write"]);
    let Some(mut traced) = Traced::of(&mut player, THRESHOLD) else { return };
    let writer = Writer::of(&mut player);
    let open = writer.opened(&mut traced);
    // As if it had not seen it: the slot is out of its sight while the thread wakes.
    let mut slots = slots(&traced);
    let index = writer.tid & (tracer_ebpf::limits::WRITER_SLOTS - 1);
    let asleep = slots.get(&index, 0).unwrap();
    slots.set(index, [0; SLOT_BYTES], 0).unwrap();
    player.tell("release");
    let (_, to) = own_times(&mut player);
    slots.set(index, asleep, 0).unwrap();
    let closed = writer.closed(&mut traced, stall(&open).since_boot_ns);
    assert_eq!((stall(&open).end_seen, stall(&closed).end_seen), (None, Some(false)));
    assert!(closed.boot_ns >= to, "found, not seen: {closed:?}, back at {to}");
    for _ in 0..5 {
        traced.hear();
    }
    player.tell("end");
    assert!(player.wait().success());
    traced.until_exit(writer.process);
    assert_eq!(traced.stalls().count(), 2, "{:?}", traced.events);
    slots.set(index, [0; SLOT_BYTES], 0).unwrap();
    traced.finish();
}

/// Two threads whose numbers share their low bits share a slot. Where numbers end at 32768 there are no such
/// two, so a thread that does not exist takes the slot first.
#[test]
fn a_writer_whose_slot_is_taken_is_told_all_the_same() {
    use tracer_ebpf::limits::WRITER_SLOTS;

    let mut player = Player::held("stalls_when_told", &[]);
    let Some(mut traced) = Traced::of(&mut player, THRESHOLD) else { return };
    let writer = Writer::of(&mut player);
    let mut slots = slots(&traced);
    let index = writer.tid & (WRITER_SLOTS - 1);

    let mut taken = [0; SLOT_BYTES];
    taken[..4].copy_from_slice(&(writer.tid + WRITER_SLOTS).to_le_bytes());
    taken[8..16].copy_from_slice(&boot_ns().to_le_bytes());
    slots.set(index, taken, 0).unwrap();
    player.tell("begin");
    let open = writer.opened(&mut traced);
    let count = u32::from_le_bytes(slots.get(&index, 0).unwrap()[4..8].try_into().unwrap());
    assert_eq!(count, 1, "the slot knows of the one beside it");
    player.tell("release");
    let (from, to) = own_times(&mut player);
    let closed = writer.closed(&mut traced, stall(&open).since_boot_ns);
    let after = slots.get(&index, 0).unwrap();
    slots.set(index, [0; SLOT_BYTES], 0).unwrap();
    assert!(player.wait().success());
    assert!(from <= stall(&open).since_boot_ns);
    assert!(closed.boot_ns <= to || stall(&closed).end_seen == Some(false));
    assert_eq!(after[..8], [&taken[..4], &[0; 4][..]].concat(), "the taker stays, nobody is beside it");
    assert_eq!(stall(&open).fd, Some(writer.fd));
    traced.until_exit(writer.process);
    assert_eq!(traced.stalls().count(), 2, "{:?}", traced.events);
    traced.finish();
}
