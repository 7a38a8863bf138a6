//! The kernel's type information, read in place.
//!
//! Two questions are answered from five megabytes: at which offset is a member, and which id has a type. The
//! crates that answer them build every type of the kernel first (`btf` 0.5: 300 ms and over 100 MiB, `btf-rs`
//! 2: 200 ms), at each start of the tracer. This walks the bytes instead: a few milliseconds, and an index of
//! four bytes per type. A test compares its answers with those of `btf`. Format: `Documentation/bpf/btf.rst`.
//! Any bytes are read or are an error.

use bytes::{BufMut, Bytes};

const MAGIC: u16 = 0xeb9f;
const HEADER: usize = 24;
const TYPE: usize = 12;
const MEMBER: usize = 12;

/// Kinds of types (`include/uapi/linux/btf.h`).
mod kind {
    pub const STRUCT: u32 = 4;
    pub const UNION: u32 = 5;
    pub const TYPEDEF: u32 = 8;
    pub const VOLATILE: u32 = 9;
    pub const CONST: u32 = 10;
    pub const RESTRICT: u32 = 11;
    pub const TYPE_TAG: u32 = 18;
}

/// A blob of type information, with an index of its types.
#[derive(Clone, Debug)]
pub struct Btf {
    bytes: Bytes,
    /// Byte offset of type n + 1: ids begin at 1.
    types: Vec<u32>,
    /// The structs, as (offset of the name, id), in their order.
    structs: Vec<(u32, u32)>,
    /// The typedefs, likewise.
    typedefs: Vec<(u32, u32)>,
    strings: usize,
}

/// The place of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Bits from the beginning of the outermost struct.
    pub bit_offset: u32,
    type_id: u32,
}

impl Btf {
    /// Indexes a blob. The error describes what is wrong with it.
    pub fn parse(bytes: Bytes) -> Result<Self, String> {
        let word = |at: usize| u32_at(&bytes, at).ok_or_else(|| "cut short in its header".to_owned());
        let magic = word(0)? & 0xffff;
        if magic != u32::from(MAGIC) {
            return Err(format!("magic number {magic:#x} is not that of little-endian BTF"));
        }
        let header = word(4)? as usize;
        if header < HEADER {
            return Err(format!("header of {header} bytes is too short"));
        }
        let types_at = header.saturating_add(word(8)? as usize);
        let types_end = types_at.saturating_add(word(12)? as usize);
        let strings = header.saturating_add(word(16)? as usize);
        if types_end > bytes.len() || strings > bytes.len() {
            return Err("shorter than its header says".to_owned());
        }
        let mut types = Vec::with_capacity((types_end - types_at) / 24);
        let (mut structs, mut typedefs) = (Vec::new(), Vec::new());
        let mut at = types_at;
        while at < types_end {
            let info = u32_at(&bytes, at + 4).ok_or("cut short in a type")?;
            types.push(at as u32);
            let (kind, length) = (info >> 24 & 0x1f, (info & 0xffff) as usize);
            match kind {
                kind::STRUCT => structs.push((word(at)?, types.len() as u32)),
                kind::TYPEDEF => typedefs.push((word(at)?, types.len() as u32)),
                _ => {}
            }
            at += TYPE
                + match kind {
                    1 | 14 | 17 => 4,
                    3 => 12,
                    kind::STRUCT | kind::UNION | 15 | 19 => length * 12,
                    6 | 13 => length * 8,
                    2 | 7..=12 | 16 | 18 => 0,
                    unknown => return Err(format!("type {} is of unknown kind {unknown}", types.len())),
                };
        }
        Ok(Self { bytes, types, structs, typedefs, strings })
    }

    /// Id of a struct. Finding it takes longer than finding its members.
    pub fn struct_id(&self, name: &str) -> Option<u32> {
        self.id(&self.structs, name)
    }

    /// Offset of a struct's member `path` ("a.b" for a member of a member). Anonymous members are looked
    /// into.
    pub fn member(&self, struct_id: u32, path: &str) -> Option<Member> {
        let mut found = Member { bit_offset: 0, type_id: struct_id };
        for name in path.split('.') {
            let inner = self.find_member(self.resolved(found.type_id)?, name, 0)?;
            found = Member { bit_offset: found.bit_offset + inner.bit_offset, type_id: inner.type_id };
        }
        Some(found)
    }

    /// Size of a struct, bytes.
    pub fn struct_size(&self, struct_id: u32) -> Option<u32> {
        let at = self.at(struct_id)?;
        u32_at(&self.bytes, at + 8)
    }

    /// Id of a typedef.
    pub fn typedef_id(&self, name: &str) -> Option<u32> {
        self.id(&self.typedefs, name)
    }

    /// Type information in which the given typedefs have their ids, and every other type is a placeholder:
    /// enough to find the tracepoints, and parsed in a tenth of the time.
    pub fn with_only_typedefs(&self, names: &[&str]) -> Vec<u8> {
        let mut wanted: Vec<(u32, &str)> =
            names.iter().filter_map(|name| Some((self.typedef_id(name)?, *name))).collect();
        wanted.sort_unstable();
        let count = wanted.last().map_or(0, |(id, _)| *id);
        let mut strings = vec![0];
        let mut types = Vec::with_capacity(count as usize * TYPE);
        let mut next = wanted.into_iter().peekable();
        for id in 1..=count {
            let (name_at, kind) = match next.next_if(|(wanted, _)| *wanted == id) {
                Some((_, name)) => {
                    let at = strings.len() as u32;
                    strings.extend(name.as_bytes());
                    strings.push(0);
                    (at, kind::TYPEDEF)
                }
                None => (0, kind::VOLATILE),
            };
            types.put_u32_le(name_at);
            types.put_u32_le(kind << 24);
            types.put_u32_le(0);
        }
        let mut blob = Vec::with_capacity(HEADER + types.len() + strings.len());
        blob.put_u16_le(MAGIC);
        blob.put_u8(1);
        blob.put_u8(0);
        blob.put_u32_le(HEADER as u32);
        blob.put_u32_le(0);
        blob.put_u32_le(types.len() as u32);
        blob.put_u32_le(types.len() as u32);
        blob.put_u32_le(strings.len() as u32);
        blob.extend(types);
        blob.extend(strings);
        blob
    }

    /// The id of the first that has this name.
    fn id(&self, named: &[(u32, u32)], name: &str) -> Option<u32> {
        named.iter().find(|(offset, _)| self.is_string(*offset, name)).map(|(_, id)| *id)
    }

    fn at(&self, id: u32) -> Option<usize> {
        self.types.get((id as usize).checked_sub(1)?).map(|&at| at as usize)
    }

    fn is_string(&self, offset: u32, text: &str) -> bool {
        let at = self.strings.saturating_add(offset as usize);
        self.bytes.get(at..at + text.len()).is_some_and(|found| found == text.as_bytes())
            && self.bytes.get(at + text.len()) == Some(&0)
    }

    /// The struct or union behind typedefs and qualifiers.
    fn resolved(&self, mut id: u32) -> Option<u32> {
        for _ in 0..32 {
            let at = self.at(id)?;
            match u32_at(&self.bytes, at + 4)? >> 24 & 0x1f {
                kind::STRUCT | kind::UNION => return Some(id),
                kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG => {
                    id = u32_at(&self.bytes, at + 8)?;
                }
                _ => return None,
            }
        }
        None
    }

    fn find_member(&self, id: u32, name: &str, depth: u32) -> Option<Member> {
        let at = self.at(id)?;
        let info = u32_at(&self.bytes, at + 4)?;
        for n in 0..(info & 0xffff) as usize {
            let member = at + TYPE + n * MEMBER;
            let name_offset = u32_at(&self.bytes, member)?;
            let type_id = u32_at(&self.bytes, member + 4)?;
            let offset = u32_at(&self.bytes, member + 8)?;
            // With the kind flag the upper byte is the width of a bit field.
            let bit_offset = if info >> 31 == 1 { offset & 0xff_ffff } else { offset };
            if self.is_string(name_offset, name) {
                return Some(Member { bit_offset, type_id });
            }
            if self.is_string(name_offset, "") && depth < 16 {
                let inner = self.resolved(type_id).and_then(|id| self.find_member(id, name, depth + 1));
                if let Some(inner) = inner {
                    return Some(Member { bit_offset: bit_offset + inner.bit_offset, ..inner });
                }
            }
        }
        None
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(word.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A small blob: `struct outer { int a; union { int b; struct inner c; }; int flag : 1 at bit 100 }` and
    /// `struct inner { int d at bit 32 }`, `typedef inner inner_t`.
    fn blob() -> Vec<u8> {
        let strings = b"\0outer\0a\0b\0c\0flag\0inner\0d\0inner_t\0";
        let name = |text: &str| {
            let wanted = format!("\0{text}\0");
            strings.windows(wanted.len()).position(|w| w == wanted.as_bytes()).unwrap() as u32 + 1
        };
        let mut types = Vec::new();
        let mut put = |words: &[u32]| words.iter().for_each(|&word| types.put_u32_le(word));
        put(&[0, 1 << 24, 4, 32]); // 1: int
        put(&[name("inner"), kind::STRUCT << 24 | 1, 8, name("d"), 1, 32]); // 2
        put(&[0, kind::UNION << 24 | 2, 8, name("b"), 1, 0, name("c"), 4, 0]); // 3
        put(&[name("inner_t"), kind::TYPEDEF << 24, 2]); // 4
        let flagged = 1 << 31;
        put(&[name("outer"), flagged | kind::STRUCT << 24 | 3, 16]); // 5
        put(&[name("a"), 1, 0, 0, 3, 32, name("flag"), 1, 1 << 24 | 100]);
        let mut blob = Vec::new();
        blob.put_u16_le(MAGIC);
        blob.put_u16_le(1);
        for word in [24, 0, types.len() as u32, types.len() as u32, strings.len() as u32] {
            blob.put_u32_le(word);
        }
        blob.extend(types);
        blob.extend(strings);
        blob
    }

    #[test]
    fn members_are_found_through_anonymous_members_typedefs_and_bit_fields() {
        let btf = Btf::parse(blob().into()).unwrap();
        let outer = btf.struct_id("outer").unwrap();
        let bits = |path| btf.member(outer, path).map(|m| m.bit_offset);
        assert_eq!(bits("a"), Some(0));
        assert_eq!(bits("b"), Some(32));
        assert_eq!(bits("c.d"), Some(64));
        assert_eq!(bits("flag"), Some(100));
        assert_eq!(bits("nothing"), None);
        assert_eq!(
            (btf.struct_id("outer_"), btf.struct_id("oute"), btf.struct_id("inner_t")),
            (None, None, None)
        );
        assert_eq!(btf.struct_size(outer), Some(16));
    }

    #[test]
    fn a_reduced_blob_keeps_ids() {
        let btf = Btf::parse(blob().into()).unwrap();
        let reduced = Btf::parse(btf.with_only_typedefs(&["inner_t", "absent"]).into()).unwrap();
        assert_eq!(reduced.typedef_id("inner_t"), btf.typedef_id("inner_t"));
        assert_eq!(reduced.typedef_id("absent"), None);
    }

    proptest! {
        #[test]
        fn any_damage_is_read_or_refused(at in 0usize..300, value: u8, cut in 0usize..300) {
            let mut bytes = blob();
            let length = bytes.len();
            bytes[at % length] = value;
            bytes.truncate(length - cut % length);
            if let Ok(btf) = Btf::parse(bytes.into()) {
                let _ = btf.struct_id("outer").and_then(|outer| btf.member(outer, "c.d"));
                let _ = btf.with_only_typedefs(&["inner_t"]);
            }
        }
    }
}
