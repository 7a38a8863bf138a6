//! The swim lanes as a picture: a row a process, time from left to right.

use super::panel::Panel;
use crate::core::report::clip;
use crate::core::report::escape::html as plain;
use crate::core::report::lanes::{Lane, Lanes, SpanKind};
use crate::core::text::duration;

const NAME_WIDTH: i32 = 236;
const PLOT_WIDTH: i32 = 620;
/// Room for the words at a lane's end.
const END_WIDTH: i32 = 110;
const ROW: i32 = 22;
const TOP: i32 = 26;
const LEGEND: i32 = 26;
/// Characters of a lane's name.
const NAME_CHARS: usize = 31;
/// Most ticks of the time axis.
const MOST_TICKS: u64 = 8;

/// Places of time on the axis.
struct Axis {
    begin: u64,
    length: u64,
}

impl Axis {
    fn x(&self, at: u64) -> i32 {
        let since = at.saturating_sub(self.begin).min(self.length);
        // The product needs more than 64 bits for sessions of days.
        let x = u128::from(since) * PLOT_WIDTH as u128 / u128::from(self.length.max(1));
        NAME_WIDTH + i32::try_from(x).unwrap_or(PLOT_WIDTH)
    }
}

/// The swim lanes of at most `most` processes; `None` when no process is known.
pub fn panel(lanes: &Lanes, most: usize) -> Option<Panel> {
    let rows = lanes.pick(most);
    if rows.is_empty() {
        return None;
    }
    let (begin, end) = lanes.range();
    let axis = Axis { begin, length: end.saturating_sub(begin).max(1) };
    let bottom = TOP + rows.len() as i32 * ROW;
    let mut body = String::new();
    if let Some(since) = lanes.hangs_since {
        let x = axis.x(since);
        body.push_str(&format!(
            "<rect class=\"shade\" x=\"{x}\" y=\"{TOP}\" width=\"{}\" height=\"{}\"><title>something hangs</title></rect>",
            (NAME_WIDTH + PLOT_WIDTH - x).max(1),
            bottom - TOP
        ));
    }
    ticks(&mut body, &axis, bottom);
    for (row, (depth, lane)) in rows.iter().enumerate() {
        one(&mut body, &axis, TOP + row as i32 * ROW, *depth, lane);
    }
    let mut height = bottom + LEGEND;
    legend(&mut body, bottom + 17);
    let left = lanes.lanes.len() - rows.len() + lanes.omitted;
    if left > 0 {
        body.push_str(&format!(
            "<text class=\"muted\" x=\"8\" y=\"{}\">and {left} more processes</text>",
            height + 10
        ));
        height += 18;
    }
    let title = format!(
        "Swim lanes of {} processes over {}. The wait tree below says the same in words.",
        rows.len(),
        duration(axis.length)
    );
    Some(Panel { title, width: NAME_WIDTH + PLOT_WIDTH + END_WIDTH, height, body })
}

/// The time between two ticks: 1, 2 or 5 and a power of ten, in minutes and hours for long sessions.
fn step(length: u64) -> u64 {
    let second = 1_000_000_000;
    let fine = (0..9).flat_map(|power| [1, 2, 5].map(|digit| digit * 10_u64.pow(power + 1)));
    let coarse = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 43_200, 86_400];
    let mut steps = fine.filter(|step| *step < second).chain(coarse.map(|seconds| seconds * second));
    steps.find(|step| length / step < MOST_TICKS).unwrap_or(length.max(1))
}

fn ticks(out: &mut String, axis: &Axis, bottom: i32) {
    let step = step(axis.length);
    for number in 0..=axis.length / step {
        let since = number * step;
        let x = axis.x(axis.begin + since);
        let words = match since {
            0 => "0 s".to_owned(),
            _ if step >= 60_000_000_000 => format!("{} min", since / 60_000_000_000),
            _ if step >= 1_000_000_000 => format!("{} s", since / 1_000_000_000),
            _ if since < 1_000_000_000 => format!("{} ms", since / 1_000_000),
            _ => format!("{:.2} s", since as f64 / 1e9),
        };
        out.push_str(&format!(
            "<line class=\"grid\" x1=\"{x}\" y1=\"{}\" x2=\"{x}\" y2=\"{bottom}\"/><text class=\"small muted\" x=\"{x}\" y=\"14\">{words}</text>",
            TOP - 6
        ));
    }
}

fn one(out: &mut String, axis: &Axis, y: i32, depth: usize, lane: &Lane) {
    let indent = 8 + depth.min(8) as i32 * 8;
    let name = format!("{} {}", lane.name, lane.process.pid);
    let chars = NAME_CHARS.saturating_sub(depth.min(8));
    let class = if lane.hangs { " class=\"strong\"" } else { "" };
    out.push_str(&format!(
        "<text{class} x=\"{indent}\" y=\"{}\">{}</text>",
        y + 15,
        plain(&clip_name(&name, chars))
    ));
    let end = lane.end.as_ref().map_or(axis.begin + axis.length, |end| end.at_boot_ns);
    let (x, x_end) = (axis.x(lane.begin_boot_ns), axis.x(end));
    let ended = lane.end.as_ref().map_or_else(|| "alive".to_owned(), |end| end.how.clone());
    let before = if lane.begun_before { ", began earlier" } else { "" };
    out.push_str(&format!(
        "<rect class=\"alive\" x=\"{x}\" y=\"{}\" width=\"{}\" height=\"6\" rx=\"2\"><title>{}</title></rect>",
        y + 8,
        (x_end - x).max(2),
        plain(&format!("{name}: {}, {ended}{before}", duration(end.saturating_sub(lane.begin_boot_ns))))
    ));
    let mut last: Option<(i32, i32, &str)> = None;
    for span in &lane.spans {
        let to = span.to_boot_ns.unwrap_or(end);
        let class = match span.kind {
            SpanKind::Wait => "wait",
            SpanKind::BlockedWrite => "write",
            SpanKind::Hang => "hang",
        };
        let (from_x, to_x) = (axis.x(span.from_boot_ns), axis.x(to));
        let place = (from_x, (to_x - from_x).max(2), class);
        // A thousand threads in the same wait are one bar.
        if last == Some(place) {
            continue;
        }
        last = Some(place);
        out.push_str(&format!(
            "<rect class=\"{class}\" x=\"{from_x}\" y=\"{}\" width=\"{}\" height=\"12\" rx=\"2\"><title>{}</title></rect>",
            y + 5,
            place.1,
            plain(&format!("{}, for {}", span.words, duration(to.saturating_sub(span.from_boot_ns))))
        ));
    }
    for (at, signal) in &lane.signals {
        let x = axis.x(*at);
        out.push_str(&format!(
            "<line class=\"signal\" x1=\"{x}\" y1=\"{}\" x2=\"{x}\" y2=\"{}\"><title>{}</title></line>",
            y + 2,
            y + 20,
            plain(&format!("was sent {signal}"))
        ));
    }
    if let Some(end) = &lane.end {
        let middle = y + 11;
        match end.failed {
            true => out.push_str(&format!(
                "<path class=\"bad\" d=\"M{} {}l8 8m0 -8l-8 8\"/>",
                x_end - 4,
                middle - 4
            )),
            false => {
                out.push_str(&format!("<circle class=\"good\" cx=\"{x_end}\" cy=\"{middle}\" r=\"4\"/>"))
            }
        }
        if end.failed || end.how != "exit 0" {
            out.push_str(&format!(
                "<text class=\"small halo\" x=\"{}\" y=\"{}\">{}</text>",
                x_end + 8,
                y + 15,
                plain(&clip(&end.how, 14))
            ));
        }
    }
}

/// The pid at the end of a name stays.
fn clip_name(name: &str, most: usize) -> String {
    match name.rsplit_once(' ') {
        Some((words, pid)) if name.chars().count() > most => {
            format!("{} {pid}", clip(words, most.saturating_sub(pid.len() + 2)))
        }
        _ => name.to_owned(),
    }
}

fn legend(out: &mut String, y: i32) {
    let mut x = NAME_WIDTH;
    for (class, words) in
        [("alive", "alive"), ("wait", "waits"), ("write", "blocked write"), ("hang", "part of the hang")]
    {
        let height = if class == "alive" { 6 } else { 12 };
        out.push_str(&format!(
            "<rect class=\"{class}\" x=\"{x}\" y=\"{}\" width=\"18\" height=\"{height}\" rx=\"2\"/><text class=\"small muted\" x=\"{}\" y=\"{y}\">{words}</text>",
            y - 4 - height / 2,
            x + 24
        ));
        x += 48 + words.chars().count() as i32 * 7;
    }
    out.push_str(&format!(
        "<circle class=\"good\" cx=\"{}\" cy=\"{}\" r=\"4\"/><text class=\"small muted\" x=\"{}\" y=\"{y}\">ended well</text>",
        x + 4,
        y - 4,
        x + 14
    ));
    x += 100;
    out.push_str(&format!(
        "<path class=\"bad\" d=\"M{x} {}l8 8m0 -8l-8 8\"/><text class=\"small muted\" x=\"{}\" y=\"{y}\">failed or killed</text>",
        y - 8,
        x + 14
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_axis_has_few_round_ticks() {
        for length in
            [1, 999, 1_500_000, 3_200_000_000, 61_000_000_000, 7_500_000_000_000, 864_000_000_000_000]
        {
            let step = step(length);
            assert!(length / step <= MOST_TICKS, "{length}: {step}");
        }
        assert_eq!(step(3_200_000_000), 500_000_000);
        assert_eq!(step(61_000_000_000), 10_000_000_000);
    }
}
