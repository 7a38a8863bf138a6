//! Report formats and `--report FORMAT=PATH`: the one list of formats, for all verbs.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use clap::ValueEnum;
use clap::builder::PossibleValue;

use crate::core::diagnosis::Diagnosis;
use crate::core::report::{self, Lanes, TextStyle};
use crate::core::text::json;

/// How a diagnosis is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// For a terminal
    Text,
    /// For programs
    Json,
    /// For pull requests and step summaries
    Markdown,
    /// For a browser
    Html,
    /// For the test reports of CI systems
    Junit,
    /// A picture of the graph and of the session over time
    Svg,
    /// The session over time, for the Perfetto viewer (binary)
    Perfetto,
    /// The graph, for Graphviz
    Dot,
    /// The graph, for Markdown pages that draw it
    Mermaid,
}

impl ReportFormat {
    /// The report in this format. Only text has a style, and only some formats show the session over time.
    ///
    /// # Errors
    /// When it cannot be serialized.
    pub fn render(
        self,
        diagnosis: &Diagnosis,
        session: Option<&Lanes>,
        style: TextStyle,
    ) -> anyhow::Result<Vec<u8>> {
        let text = match self {
            Self::Perfetto => return Ok(report::perfetto(diagnosis, session)),
            Self::Text => report::text(diagnosis, style),
            Self::Json => json(&report::json(diagnosis)?) + "\n",
            Self::Markdown => report::markdown(diagnosis),
            Self::Html => report::html(diagnosis, session),
            Self::Junit => report::junit(diagnosis)?,
            Self::Svg => report::picture(diagnosis, session),
            Self::Dot => report::dot(&diagnosis.graph),
            Self::Mermaid => report::mermaid(&diagnosis.graph),
        };
        Ok(text.into_bytes())
    }

    /// The end of a file's name in this format.
    fn extension(self) -> &'static str {
        match self {
            Self::Text => "txt",
            Self::Json => "json",
            Self::Markdown => "md",
            Self::Html => "html",
            Self::Junit => "xml",
            Self::Svg => "svg",
            Self::Perfetto => "pftrace",
            Self::Dot => "dot",
            Self::Mermaid => "mmd",
        }
    }

    /// The names of all formats.
    pub fn all_names() -> Vec<String> {
        let names = Self::value_variants().iter().filter_map(ValueEnum::to_possible_value);
        names.map(|value| value.get_name().to_owned()).collect()
    }

    /// `text, json, …`, for help and errors.
    fn names() -> String {
        Self::all_names().join(", ")
    }
}

/// What `diagnose --format` prints: a report, or the evidence that it was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiagnoseFormat {
    /// A report of the diagnosis.
    Report(ReportFormat),
    /// The evidence, as JSON.
    Evidence,
}

impl ValueEnum for DiagnoseFormat {
    fn value_variants<'a>() -> &'a [Self] {
        static ALL: LazyLock<Vec<DiagnoseFormat>> = LazyLock::new(|| {
            let reports = ReportFormat::value_variants().iter().copied().map(DiagnoseFormat::Report);
            reports.chain([DiagnoseFormat::Evidence]).collect()
        });
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        match self {
            Self::Report(format) => format.to_possible_value(),
            Self::Evidence => {
                Some(PossibleValue::new("evidence").help("What the diagnosis was made from, as JSON"))
            }
        }
    }
}

/// Where a report is written. Devices are known by their usual names alone: whatever else a path leads to
/// has to be a regular file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReportPlace {
    /// A file.
    File(PathBuf),
    /// `-` or `/dev/stdout`.
    Stdout,
    /// `/dev/stderr`.
    Stderr,
    /// `/dev/null`.
    Nowhere,
}

/// A report that is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportTarget {
    /// The format.
    pub format: ReportFormat,
    /// Where it is written.
    pub place: ReportPlace,
}

impl ReportTarget {
    /// Parses `FORMAT=PATH`.
    ///
    /// # Errors
    /// When the format is unknown or the path is empty.
    pub fn parse(argument: &str) -> Result<Self, String> {
        let (format, path) = argument.split_once('=').unwrap_or((argument, ""));
        let format = ReportFormat::from_str(format, false)
            .map_err(|_| format!("write FORMAT=PATH with a format of {}", ReportFormat::names()))?;
        if path.is_empty() {
            return Err("the path is missing: write FORMAT=PATH".to_owned());
        }
        let place = match path {
            "-" | "/dev/stdout" => ReportPlace::Stdout,
            "/dev/stderr" => ReportPlace::Stderr,
            "/dev/null" => ReportPlace::Nowhere,
            path => ReportPlace::File(PathBuf::from(path)),
        };
        Ok(Self { format, place })
    }

    /// The help text of `--report`, with the formats.
    pub fn help(purpose: &str) -> String {
        format!("{purpose}; may be repeated; formats: {}", ReportFormat::names())
    }
}

/// Where reports are written.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct ReportArgs {
    #[arg(long = "report", value_name = "FORMAT=PATH", value_parser = ReportTarget::parse, help = ReportTarget::help("Write a report to a file"))]
    targets: Vec<ReportTarget>,
    /// Write a report in every format to this directory, named by the session
    #[arg(long = "report-dir", value_name = "DIR")]
    directory: Option<PathBuf>,
}

impl ReportArgs {
    /// No report is wanted.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty() && self.directory.is_none()
    }

    /// The directory for reports in every format.
    pub fn directory(&self) -> Option<&Path> {
        self.directory.as_deref()
    }

    /// The reports of a session, or of something else with a name.
    pub fn targets(&self, name: &str) -> Vec<ReportTarget> {
        let all = self.directory.iter().flat_map(|directory| {
            ReportFormat::value_variants().iter().map(|format| ReportTarget {
                format: *format,
                place: ReportPlace::File(directory.join(format!("{name}.{}", format.extension()))),
            })
        });
        self.targets.iter().cloned().chain(all).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_target_has_a_format_and_a_path() {
        let target = ReportTarget::parse("junit=out/a=b.xml").expect("well-formed");
        assert_eq!(
            target,
            ReportTarget { format: ReportFormat::Junit, place: ReportPlace::File("out/a=b.xml".into()) }
        );
        for bad in ["", "junit", "junit=", "=x", "pdf=x"] {
            assert!(ReportTarget::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn every_report_format_can_be_printed_by_diagnose() {
        let printed: Vec<_> =
            DiagnoseFormat::value_variants().iter().filter_map(|it| it.to_possible_value()).collect();
        assert_eq!(printed.len(), ReportFormat::value_variants().len() + 1);
        assert_eq!(
            DiagnoseFormat::from_str("mermaid", false),
            Ok(DiagnoseFormat::Report(ReportFormat::Mermaid))
        );
    }
}
