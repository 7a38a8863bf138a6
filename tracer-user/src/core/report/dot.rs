//! The graph for Graphviz.

use super::escape::dot as quoted;
use crate::core::diagnosis::{Graph, NodeKind, NodeState};

/// A digraph: boxes are threads, ellipses resources, red is stuck.
pub fn dot(graph: &Graph) -> String {
    let mut out = String::from("digraph hang {\n  rankdir=LR;\n  node [fontname=\"sans-serif\"];\n");
    for node in &graph.nodes {
        let shape = if node.kind == NodeKind::Thread { "box" } else { "ellipse" };
        let color = match node.state {
            Some(NodeState::Stuck) => "red",
            Some(NodeState::Orphaned) => "orange",
            Some(NodeState::External) => "blue",
            Some(NodeState::Active | NodeState::Soon) => "green",
            _ => "gray",
        };
        out.push_str(&format!(
            "  {} [label={}, shape={shape}, color={color}];\n",
            quoted(&node.id),
            quoted(&node.label)
        ));
    }
    for edge in &graph.edges {
        let label = format!("{} ({})", edge.op, edge.via);
        out.push_str(&format!(
            "  {} -> {} [label={}];\n",
            quoted(&edge.from),
            quoted(&edge.to),
            quoted(&label)
        ));
    }
    out.push_str("}\n");
    out
}
