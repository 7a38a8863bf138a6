//! The graph for Mermaid, as GitHub renders it.

use std::collections::BTreeMap;

use super::escape::mermaid as quoted;
use crate::core::diagnosis::{Graph, NodeKind, NodeState};

/// A flowchart: boxes are threads, rounded ones resources, red is stuck.
pub fn mermaid(graph: &Graph) -> String {
    let mut out = String::from("flowchart LR\n");
    let mut names: BTreeMap<&str, String> = BTreeMap::new();
    for (at, node) in graph.nodes.iter().enumerate() {
        let name = format!("n{at}");
        let (open, close) = if node.kind == NodeKind::Thread { ("[", "]") } else { ("([", "])") };
        out.push_str(&format!("  {name}{open}{}{close}\n", quoted(&node.label)));
        let class = match node.state {
            Some(NodeState::Stuck) => Some("stuck"),
            Some(NodeState::Orphaned) => Some("orphaned"),
            Some(NodeState::External) => Some("external"),
            _ => None,
        };
        if let Some(class) = class {
            out.push_str(&format!("  class {name} {class}\n"));
        }
        names.insert(&node.id, name);
    }
    for edge in &graph.edges {
        if let (Some(from), Some(to)) = (names.get(edge.from.as_str()), names.get(edge.to.as_str())) {
            out.push_str(&format!("  {from} -->|{}| {to}\n", quoted(&format!("{}: {}", edge.op, edge.via))));
        }
    }
    out.push_str("  classDef stuck stroke:#b00020,stroke-width:2px\n");
    out.push_str("  classDef orphaned stroke:#a05a00,stroke-width:2px\n");
    out.push_str("  classDef external stroke:#00648c,stroke-width:2px\n");
    out
}
