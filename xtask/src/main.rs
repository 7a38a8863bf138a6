//! `cargo xtask TASK`: the repository's own tasks.

fn main() -> anyhow::Result<()> {
    anyhow::bail!("no task given")
}
