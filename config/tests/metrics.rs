//! What the dashboard and the alert rules ask for is what the programs tell.

#![allow(clippy::unwrap_used, reason = "a test fails by its panic")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Names of all metrics in the sources of both programs: first arguments of `counter!`, `gauge!`, `histogram!`, and what
/// is handed to them as a name.
fn exported() -> BTreeSet<String> {
    let name = regex::Regex::new(r#""((?:recorder|minhquay)_[a-z_]+)""#).unwrap();
    let mut names = BTreeSet::new();
    let mut folders = vec![root().join("recorder/src"), root().join("viewer-server/src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                names.extend(name.captures_iter(&text).map(|found| found[1].to_owned()));
            }
        }
    }
    assert!(names.len() > 30, "{names:?}");
    names
}

/// Names of metrics in an expression or in a whole document.
fn asked(text: &str) -> BTreeSet<String> {
    let name = regex::Regex::new(r"\b(?:recorder|minhquay)_[a-z_]+\b").unwrap();
    name.find_iter(text)
        .map(|found| found.as_str().to_owned())
        .collect()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

#[test]
fn the_dashboard_shows_what_the_programs_tell() {
    let dashboard: serde_json::Value = serde_json::from_str(&read("config/grafana/minhquay.json")).unwrap();
    let exported = exported();
    let mut shown = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let names = asked(target["expr"].as_str().unwrap());
            assert!(!names.is_empty(), "{target}");
            shown.extend(names);
        }
    }
    assert!(shown.len() > 20);
    let unknown: Vec<_> = shown.difference(&exported).collect();
    assert!(unknown.is_empty(), "shown but not told: {unknown:?}");
}

#[test]
fn the_alert_rules_ask_for_what_the_programs_tell() {
    let rules = read("config/prometheus/alerts.yml");
    // `minhquay-...` are names of groups; metrics have underscores.
    let unknown: Vec<_> = asked(&rules.replace("minhquay_recorder_*", ""))
        .difference(&exported())
        .cloned()
        .collect();
    assert!(unknown.is_empty(), "asked for but not told: {unknown:?}");
    let alerts = rules.matches("- alert:").count();
    assert_eq!(alerts, rules.matches("severity:").count());
    assert_eq!(alerts, rules.matches("summary:").count());
}

#[test]
fn the_table_of_metrics_is_true() {
    let table = asked(&read("docs/metrics.md"));
    let exported = exported();
    let unknown: Vec<_> = table.difference(&exported).collect();
    assert!(unknown.is_empty(), "described but not told: {unknown:?}");
}
