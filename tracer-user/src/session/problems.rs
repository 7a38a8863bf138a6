//! Problems that do not stop the work: one line each, for the report.

use std::fmt::Display;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Collects problems, in the order in which they are met.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Problems(Vec<String>);

impl Problems {
    /// Adds a problem.
    pub fn add(&mut self, problem: impl Display) {
        self.0.push(problem.to_string());
    }

    /// Adds the problems of another collection.
    pub fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }
}

impl From<Problems> for Vec<String> {
    fn from(problems: Problems) -> Self {
        problems.0
    }
}

impl std::ops::Deref for Problems {
    type Target = [String];

    fn deref(&self) -> &[String] {
        &self.0
    }
}

impl<'p> IntoIterator for &'p Problems {
    type Item = &'p String;
    type IntoIter = std::slice::Iter<'p, String>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}
