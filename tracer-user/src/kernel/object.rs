//! The embedded kernel programs, as they were built and committed.

use std::sync::LazyLock;

/// The object, aligned for the ELF reader.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../tracer-ebpf/object/tracer.bpf.o");

/// What `cargo xtask build-ebpf` wrote beside it.
const RECORD: &str = include_str!("../../../tracer-ebpf/object/tracer.bpf.json");

/// The object's version: the first twelve digits of its SHA-256. Sessions of the same version share a hook.
pub fn version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(|| {
        let record: serde_json::Value = serde_json::from_str(RECORD).unwrap_or_default();
        let digest = record["object_sha256"].as_str().unwrap_or("unversioned");
        digest.chars().take(12).collect()
    });
    &VERSION
}
