//! Sockets of a network namespace, through netlink or from `/proc/net`, and the kernel's process connector.

pub(super) mod codes;
pub mod connector;
mod sock_diag;
pub(super) mod sockets;
pub(super) mod tables;
