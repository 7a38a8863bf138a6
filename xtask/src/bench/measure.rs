//! Rounds, medians, ratios.

use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::Result;

use super::context::{Bench, traced};
use super::workload::TOOK;
use crate::exec::{exec, probe};

/// A tool under which the job runs.
pub struct Contender {
    /// Its name in the output.
    pub name: &'static str,
    /// The command line before the job's own.
    pub before: Vec<String>,
    /// It watches the whole machine as a separate process, started before the job.
    pub separate: bool,
    /// Divisor of the workload for slow tools: 20 means a twentieth of it.
    pub share: u32,
}

/// The bare job, the tool, and the other tools that are installed on this machine.
pub fn contenders(bench: &Bench, bpftrace: &str) -> Vec<Contender> {
    let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
    let mut all = vec![
        Contender { name: "bare", before: Vec::new(), separate: false, share: 1 },
        Contender { name: "tracer-user run", before: traced(bench), separate: false, share: 1 },
    ];
    let there = |program: &str| probe(Command::new("which").arg(program)).is_some();
    if there("strace") {
        all.push(Contender {
            name: "strace -f",
            before: words(&["strace", "-f", "-qq", "-o", "/dev/null"]),
            separate: false,
            share: 20,
        });
    }
    if there("bpftrace") {
        all.push(Contender {
            name: "bpftrace",
            before: words(&["bpftrace", "-q", "-e", bpftrace]),
            separate: true,
            share: 1,
        });
    }
    for exitsnoop in ["exitsnoop-bpfcc", "exitsnoop"] {
        if there(exitsnoop) {
            all.push(Contender { name: "exitsnoop", before: words(&[exitsnoop]), separate: true, share: 1 });
            break;
        }
    }
    all
}

/// A contender that takes this many times as long as the bare job runs only once.
const TOO_SLOW: f64 = 5.0;

/// The result of one contender. Ratios are relative to the first contender's time of the same round.
pub struct Figure {
    /// Name of the contender.
    pub name: &'static str,
    /// Median time in milliseconds; NaN when it does not run here.
    pub ms: f64,
    /// Median ratio.
    pub ratio: f64,
    /// First and third quartile of the ratios.
    pub between: [f64; 2],
}

/// Times the job under each contender in turn.
///
/// # Errors
/// When a contender or the job fails.
pub fn paired(contenders: &[Contender], job: &[String], rounds: usize) -> Result<Vec<Figure>> {
    let mut times = vec![Vec::new(); contenders.len()];
    for round in 0..rounds {
        for (at, contender) in in_turn(contenders, round) {
            let slow = |one: &f64| *one > TOO_SLOW * times[0].first().copied().unwrap_or(f64::INFINITY);
            if !times[at].iter().any(|one| one.is_nan() || slow(one)) {
                times[at].push(once(contender, job)?.unwrap_or(f64::NAN));
            }
        }
    }
    let bare = times.first().cloned().unwrap_or_default();
    let figures = contenders.iter().zip(times).map(|(contender, times)| {
        let mut ratios: Vec<f64> = times.iter().zip(&bare).map(|(time, bare)| time / bare).collect();
        ratios.sort_by(f64::total_cmp);
        let quartile = |nth: usize| ratios.get((ratios.len() * nth / 4).min(ratios.len() - 1)).copied();
        let between = [1, 3].map(|nth| quartile(nth).unwrap_or(f64::NAN));
        Figure { name: contender.name, ms: median(times), ratio: median(ratios.clone()), between }
    });
    Ok(figures.collect())
}

/// The contenders with their positions, in reverse order every other round, so that none always follows the
/// same one.
fn in_turn(contenders: &[Contender], round: usize) -> Vec<(usize, &Contender)> {
    let mut all: Vec<_> = contenders.iter().enumerate().collect();
    if round % 2 == 1 {
        all.reverse();
    }
    all
}

/// The time in milliseconds, or `None` if the contender does not run on this machine.
fn once(contender: &Contender, job: &[String]) -> Result<Option<f64>> {
    let alone = contender.separate || contender.before.is_empty();
    let mut watcher = contender.separate.then(|| Watcher::start(&contender.before)).transpose()?;
    if let Some(watcher) = &mut watcher
        && watcher.0.try_wait()?.is_some()
    {
        return Ok(None);
    }
    let (job, share) = part(job, contender.share);
    let words: Vec<&String> =
        if alone { job.iter().collect() } else { contender.before.iter().chain(&job).collect() };
    let mut command = Command::new(words[0]);
    // A job that measures itself excludes its start, which has a row of its own.
    let duration = tempfile::NamedTempFile::new()?;
    command.args(&words[1..]).env(TOOK, duration.path()).stdin(Stdio::null()).stdout(Stdio::null());
    let began = Instant::now();
    exec(&mut command)?;
    let took = began.elapsed().as_secs_f64() * 1000.0;
    let took = std::fs::read_to_string(duration.path())?.parse().unwrap_or(took) * f64::from(share);
    drop(watcher);
    Ok(Some(took))
}

/// Divides a workload of this program by `share`. Other jobs run as they are.
fn part(job: &[String], share: u32) -> (Vec<String>, u32) {
    let mut job = job.to_vec();
    let ours = job.get(1).is_some_and(|word| word == "bench-job");
    match job.last_mut() {
        Some(last) if ours => match last.parse::<u32>() {
            Ok(count) if count >= share => {
                *last = (count / share).to_string();
                (job, share)
            }
            _ => (job, 1),
        },
        _ => (job, 1),
    }
}

/// A tool that watches the whole machine while this value exists.
struct Watcher(std::process::Child);

impl Watcher {
    /// Starts the tool and waits for it to attach, which such tools do not report.
    fn start(words: &[String]) -> Result<Self> {
        let mut command = Command::new(&words[0]);
        let child = command
            .args(&words[1..])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .stdin(Stdio::null())
            .spawn()?;
        std::thread::sleep(std::time::Duration::from_secs(4));
        Ok(Self(child))
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The median. NaN if there are no values.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

/// One line per contender.
pub fn lines(figures: &[Figure]) -> Vec<String> {
    figures
        .iter()
        .map(|figure| {
            if figure.ms.is_nan() {
                return format!("{:<16} does not run here", figure.name);
            }
            let [low, high] = figure.between;
            format!(
                "{:<16} {:>9.1} ms  × {:.3} ({low:.3} to {high:.3})",
                figure.name, figure.ms, figure.ratio
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(Vec::new()).is_nan());
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        let words = |text: &str| vec!["sh".to_string(), "-c".into(), text.into()];
        let none = |name| Contender { name, before: Vec::new(), separate: false, share: 1 };
        let figures = paired(&[none("one"), none("same")], &words("true"), 3).unwrap();
        assert_eq!(figures[0].ratio, 1.0);
        assert!(figures[1].ratio > 0.0 && figures[1].ms > 0.0);
        assert!(paired(&[none("fails")], &words("false"), 1).is_err());
    }
}
