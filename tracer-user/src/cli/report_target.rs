//! Report formats and `--report FORMAT=PATH`: the one list of formats, for all verbs.

use std::path::PathBuf;
use std::sync::LazyLock;

use clap::ValueEnum;
use clap::builder::PossibleValue;

use crate::core::diagnosis::Diagnosis;
use crate::core::report::{self, TextStyle};
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
    /// The graph, for Graphviz
    Dot,
    /// The graph, for Markdown pages that draw it
    Mermaid,
}

impl ReportFormat {
    /// The report in this format. Only text has a style.
    ///
    /// # Errors
    /// When it cannot be serialized.
    pub fn render(self, diagnosis: &Diagnosis, style: TextStyle) -> anyhow::Result<String> {
        Ok(match self {
            Self::Text => report::text(diagnosis, style),
            Self::Json => json(&report::json(diagnosis)?) + "\n",
            Self::Markdown => report::markdown(diagnosis),
            Self::Html => report::html(diagnosis),
            Self::Junit => report::junit(diagnosis)?,
            Self::Dot => report::dot(&diagnosis.graph),
            Self::Mermaid => report::mermaid(&diagnosis.graph),
        })
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
