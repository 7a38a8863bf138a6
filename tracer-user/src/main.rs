//! `tracer-user`: see the library for everything.

fn main() -> std::process::ExitCode {
    tracer_user::cli::main()
}
