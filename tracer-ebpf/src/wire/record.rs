//! The macro that defines the structs of the wire, and their layouts as values.
//!
//! A struct is written once, with the offset of each member. Invariant: two programs that were compiled from
//! this source agree on every byte. The offsets and the size are asserted when the struct is compiled, for
//! the kernel's virtual machine as for the host. `IntoBytes` refuses padding, whose bytes would be undefined,
//! and `FromBytes` refuses members that not every bit pattern is a value of. Both are what `zerocopy`
//! derives, so this crate needs no `unsafe`.

/// Where a member lies in a struct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberLayout {
    /// The member's name.
    pub name: &'static str,
    /// Bytes from the beginning of the struct.
    pub offset: usize,
    /// Bytes.
    pub size: usize,
}

/// The layout of a struct of the wire, to be compared with other descriptions of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StructLayout {
    /// The struct's name.
    pub name: &'static str,
    /// Bytes.
    pub size: usize,
    /// The members, in their order.
    pub members: &'static [MemberLayout],
}

/// Size of the member that `_member` borrows.
pub(super) const fn member_size<S, M>(_member: fn(&S) -> &M) -> usize {
    size_of::<M>()
}

/// Defines a struct of the wire: `pub struct Name: size { offset => member: type, }`.
macro_rules! record {
    (
        $(#[$meta:meta])*
        pub struct $name:ident: $size:literal {
            $($(#[$doc:meta])* $offset:literal => $member:ident: $type:ty,)*
        }
    ) => {
        $(#[$meta])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)]
        pub struct $name {
            $($(#[$doc])* pub $member: $type,)*
        }

        const _: () = {
            assert!(size_of::<$name>() == $size);
            $(assert!(core::mem::offset_of!($name, $member) == $offset);)*
        };

        impl $name {
            /// The struct's layout.
            pub const LAYOUT: $crate::wire::StructLayout = $crate::wire::StructLayout {
                name: stringify!($name),
                size: $size,
                members: &[$($crate::wire::MemberLayout {
                    name: stringify!($member),
                    offset: $offset,
                    size: $crate::wire::record::member_size(|all: &$name| &all.$member),
                },)*],
            };
        }
    };
}
pub(crate) use record;
