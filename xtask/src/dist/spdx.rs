//! The list of what is linked into a binary, as SPDX 2.3 JSON.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::exec::output;
use crate::workspace::cargo;

/// The document for one target: the tool and every crate that is linked into it.
pub fn document(target: &str) -> Result<String> {
    let text =
        output(cargo().args(["metadata", "--locked", "--format-version=1", "--filter-platform", target]))?;
    let metadata: Value = serde_json::from_str(&text).context("cargo metadata")?;
    Ok(serde_json::to_string_pretty(&of_metadata(&metadata)?)? + "\n")
}

fn of_metadata(metadata: &Value) -> Result<Value> {
    let packages: BTreeMap<&str, &Value> =
        list(metadata, "packages").filter_map(|package| Some((package["id"].as_str()?, package))).collect();
    let nodes: BTreeMap<&str, &Value> =
        list(&metadata["resolve"], "nodes").filter_map(|node| Some((node["id"].as_str()?, node))).collect();
    let (root, tool) = packages
        .iter()
        .find(|(_, package)| package["name"] == "tracer-user")
        .context("cargo metadata has no package tracer-user")?;
    let mut linked = BTreeSet::new();
    let mut next = vec![*root];
    while let Some(id) = next.pop() {
        if linked.insert(id)
            && let Some(node) = nodes.get(id)
        {
            next.extend(
                list(node, "deps").filter(|dep| is_linked(dep)).filter_map(|dep| dep["pkg"].as_str()),
            );
        }
    }
    let described: Vec<Value> =
        linked.iter().filter_map(|id| packages.get(id)).map(|it| package(it)).collect();
    let contains = linked.iter().filter(|id| *id != root).filter_map(|id| packages.get(id)).map(|other| {
        json!({ "spdxElementId": id(tool), "relationshipType": "STATIC_LINK", "relatedSpdxElement": id(other) })
    });
    let describes = json!({
        "spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": id(tool),
    });
    let name = format!("tracer-user-{}", text(tool, "version"));
    Ok(json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": name,
        "documentNamespace": format!("https://spdx.org/spdxdocs/{name}"),
        // A date of the build would make every archive differ.
        "creationInfo": { "created": "1970-01-01T00:00:00Z", "creators": ["Tool: cargo xtask dist"] },
        "packages": described,
        "relationships": std::iter::once(describes).chain(contains).collect::<Vec<_>>(),
    }))
}

/// Whether a dependency is linked: neither for tests nor for build scripts alone.
fn is_linked(dep: &Value) -> bool {
    list(dep, "dep_kinds").any(|kind| kind["kind"].is_null())
}

fn package(package: &Value) -> Value {
    let license =
        package["license"].as_str().map_or_else(|| "NOASSERTION".to_owned(), |it| it.replace('/', " OR "));
    let (name, version) = (text(package, "name"), text(package, "version"));
    json!({
        "SPDXID": id(package),
        "name": name,
        "versionInfo": version,
        "licenseDeclared": license,
        "licenseConcluded": "NOASSERTION",
        "copyrightText": "NOASSERTION",
        "downloadLocation": package["repository"].as_str().unwrap_or("NOASSERTION"),
        "filesAnalyzed": false,
        "externalRefs": [{
            "referenceCategory": "PACKAGE-MANAGER",
            "referenceType": "purl",
            "referenceLocator": format!("pkg:cargo/{name}@{version}"),
        }],
    })
}

fn id(package: &Value) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    let name = format!("{}-{}", text(package, "name"), text(package, "version"));
    format!("SPDXRef-{}", name.chars().map(plain).collect::<String>())
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value[key].as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_linked_is_listed_and_nothing_else() {
        let package = |name: &str| json!({ "id": name, "name": name, "version": "1.0.0", "license": "MIT/Apache-2.0", "repository": null });
        let dep = |name: &str, kind: Value| json!({ "pkg": name, "dep_kinds": [{ "kind": kind }] });
        let metadata = json!({
            "packages": [package("tracer-user"), package("a"), package("b"), package("test-only")],
            "resolve": { "nodes": [
                { "id": "tracer-user", "deps": [dep("a", Value::Null), dep("test-only", json!("dev"))] },
                { "id": "a", "deps": [dep("b", Value::Null)] },
                { "id": "b", "deps": [] },
            ] },
        });
        let document = of_metadata(&metadata).unwrap();
        let names: Vec<_> = list(&document, "packages").map(|it| text(it, "name")).collect();
        assert_eq!(names, ["a", "b", "tracer-user"]);
        assert_eq!(document["packages"][0]["licenseDeclared"], "MIT OR Apache-2.0");
        assert_eq!(list(&document, "relationships").count(), 3);
    }
}
