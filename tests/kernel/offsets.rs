//! Every offset that the loader resolves, compared with other readers of the same type information: a table
//! of eleven kernels (`tests/fixtures/layouts.txt`), and for any kernel a crate that reads BTF by its own
//! code.
//!
//! The running kernel is always examined, and those that `cargo xtask vm` has fetched.
use std::path::{Path, PathBuf};

use btf::btf::{Btf, FlattenedType, Type};
use tracer_ebpf::offsets::{ABSENT, Ask, FIELDS, Offsets};
use tracer_ebpf::wire::SyscallAbi;
use tracer_user::kernel::layout_of;

const TABLE: &str = include_str!("../fixtures/layouts.txt");
const RUNNING: &str = "/sys/kernel/btf/vmlinux";
/// Bytes of a kernel stack. A task's `pt_regs` is at its upper end.
const KERNEL_STACK: u32 = 16 * 1024;

/// Release, type information and machine of the running kernel and of those in the cache.
fn kernels() -> Vec<(String, PathBuf, &'static str)> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap().trim().to_owned();
    let mut kernels = xtask::vm::cached_btf();
    if Path::new(RUNNING).exists() {
        kernels.push((release, RUNNING.into(), std::env::consts::ARCH));
    }
    kernels
}

/// A kernel's column of the table, by row. `None`: the table does not have the kernel.
fn column(release: &str) -> Option<Vec<(&'static str, Option<u32>)>> {
    let mut rows = TABLE.lines().filter(|line| !line.starts_with('#')).map(str::split_whitespace);
    let at = rows.next()?.position(|word| word == release)?;
    let number = |word: &'static str| match word {
        "-" => None,
        "yes" => Some(1),
        number => Some(number.parse().unwrap()),
    };
    Some(
        rows.map(|mut row| {
            let name = row.next().unwrap();
            (name, number(row.nth(at - 1).expect("a row as long as the first")))
        })
        .collect(),
    )
}

/// What the loader resolves, under the names of the table's rows.
fn resolved(offsets: &Offsets, abi: &SyscallAbi, pt_regs_size: u32) -> Vec<(&'static str, Option<u32>)> {
    let known = |number: u32| (number != ABSENT).then_some(number);
    let fields = FIELDS.iter().map(|field| field.name).zip(offsets.to_array().map(known));
    let has_helper = match abi.regs_in_stack {
        0 => Some(1),
        computed => {
            assert_eq!(computed + pt_regs_size, KERNEL_STACK, "pt_regs is at the upper end of the stack");
            None
        }
    };
    let [first, second, third] = abi.regs_args;
    fields
        .chain([
            ("pt_regs_orig_ax", known(abi.regs_number)),
            ("pt_regs_di", known(first)),
            ("pt_regs_si", known(second)),
            ("pt_regs_dx", known(third)),
            ("bpf_task_pt_regs", has_helper),
        ])
        .collect()
}

#[test]
fn the_table_has_a_row_for_each_field_and_knows_eleven_kernels() {
    let releases: Vec<&str> =
        TABLE.lines().find_map(|line| line.strip_prefix("kernel ")).unwrap().split(' ').collect();
    assert_eq!(releases.len(), 11);
    for release in releases {
        let rows = column(release).expect("a column");
        assert!(FIELDS.iter().map(|field| field.name).eq(rows.iter().map(|row| row.0).take(FIELDS.len())));
        for (field, row) in FIELDS.iter().zip(&rows) {
            assert!(!field.needed || row.1.is_some(), "{release} has no {}", field.name);
        }
    }
}

#[test]
fn offsets_are_those_of_the_table() {
    let mut held = 0;
    for (release, path, machine) in kernels() {
        let Some(mut expected) = column(&release) else { continue };
        let size = expected.iter().position(|row| row.0 == "pt_regs_size").unwrap();
        let size = expected.remove(size).1.unwrap();
        let (offsets, abi) = layout_of(&path, machine).unwrap();
        assert_eq!(resolved(&offsets, &abi, size), expected, "{release}");
        held += 1;
    }
    println!("{held} kernels compared with the table");
}

#[test]
fn offsets_are_those_of_another_reader() {
    for (release, path, machine) in kernels() {
        let (offsets, _) = layout_of(&path, machine).unwrap();
        let reader = Reader(Btf::from_file(&path).unwrap());
        for (field, number) in FIELDS.iter().zip(offsets.to_array()) {
            let found = match field.ask {
                Ask::Offset(paths) => {
                    paths.iter().find_map(|path| reader.member(field.of, path)).map(|bits| bits / 8)
                }
                Ask::BitOffset(path) => reader.member(field.of, path),
                Ask::Size => reader.a_struct(field.of).map(|found| found.bits / 8),
            };
            assert_eq!(number, found.unwrap_or(ABSENT), "{release}: {}", field.name);
        }
    }
}

/// Type information as the crate reads it.
struct Reader(Btf);

impl Reader {
    fn a_struct(&self, name: &str) -> Option<&FlattenedType> {
        let is_it = |found: &&FlattenedType| {
            found.name.as_deref() == Some(name) && matches!(found.base_type, Type::Struct(_))
        };
        self.0.get_types().iter().find(is_it)
    }

    /// Offset of a member, in bits from the beginning of the struct.
    fn member(&self, of: &str, path: &str) -> Option<u32> {
        let mut inside = self.a_struct(of)?;
        let mut bits = 0;
        for name in path.split('.') {
            let (offset, id) = self.find(inside, name)?;
            bits += offset;
            inside = self.0.get_type_by_id(id).ok()?;
        }
        Some(bits)
    }

    fn find(&self, inside: &FlattenedType, name: &str) -> Option<(u32, u32)> {
        let (Type::Struct(members) | Type::Union(members)) = &inside.base_type else { return None };
        members.members.iter().find_map(|member| match member.name.as_deref() {
            Some(found) if found == name => Some((member.offset, member.type_id)),
            None | Some("") => {
                let (offset, id) = self.find(self.0.get_type_by_id(member.type_id).ok()?, name)?;
                Some((member.offset + offset, id))
            }
            Some(_) => None,
        })
    }
}
