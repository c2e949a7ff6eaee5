//! The Debian packages: what they name exists, the units are accepted by systemd, and no script deletes evidence.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Crate folder and unit of each package; the verifier has none.
const PACKAGES: [(&str, Option<&str>); 3] = [
    ("recorder", Some("minhquay-recorder")),
    ("viewer-server", Some("minhquay-server")),
    ("archive", None),
];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

fn manifest(name: &str) -> toml::Table {
    let text = std::fs::read_to_string(folder(name).join("Cargo.toml")).unwrap();
    text.parse().unwrap()
}

#[test]
fn every_file_of_a_package_exists() {
    for (name, _) in PACKAGES {
        let manifest = manifest(name);
        let bins: Vec<_> = manifest["bin"]
            .as_array()
            .unwrap()
            .iter()
            .map(|bin| bin["name"].as_str().unwrap().to_owned())
            .collect();
        let deb = &manifest["package"]["metadata"]["deb"];
        let assets = deb["assets"].as_array().unwrap();
        assert!(!assets.is_empty());
        let mut installed = Vec::new();
        for asset in assets {
            let source = asset[0].as_str().unwrap();
            match source.strip_prefix("target/release/") {
                Some(bin) => assert!(bins.iter().any(|b| b == bin), "{name} builds no {bin}"),
                None => assert!(folder(name).join(source).exists(), "{name}: {source} is missing"),
            }
            installed.push(format!("/{}", asset[1].as_str().unwrap()));
        }
        let conf_files = deb.get("conf-files").and_then(|files| files.as_array()).cloned();
        for file in conf_files.unwrap_or_default() {
            let file = file.as_str().unwrap();
            assert!(
                installed.iter().any(|path| path == file),
                "{name} installs no {file}"
            );
        }
    }
}

#[test]
fn systemd_accepts_the_units() {
    let dir = tempfile::tempdir().unwrap();
    for (name, unit) in PACKAGES {
        let Some(unit) = unit else { continue };
        let text = std::fs::read_to_string(folder(name).join(format!("debian/{unit}.service"))).unwrap();
        let program = format!("ExecStart=/usr/bin/{unit} ");
        assert!(text.contains(&program), "{text}");
        // The program is not installed here; everything else is judged as it is.
        let text: String = text
            .lines()
            .map(|line| {
                if line.starts_with("ExecStart=") {
                    "ExecStart=/bin/true"
                } else {
                    line
                }
            })
            .flat_map(|line| [line, "\n"])
            .collect();
        let copy = dir.path().join(format!("{unit}.service"));
        std::fs::write(&copy, text).unwrap();
        let output = Command::new("systemd-analyze")
            .args(["verify", "--man=no"])
            .arg(&copy)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let own: Vec<_> = said.lines().filter(|line| line.contains("minhquay")).collect();
        assert!(output.status.success() && own.is_empty(), "{said}");
    }
}

#[test]
fn scripts_of_a_package_delete_nothing_and_ask_nothing() {
    for (name, unit) in PACKAGES {
        let Some(_) = unit else { continue };
        for script in ["postinst", "postrm"] {
            let path = folder(name).join("debian").join(script);
            let checked = Command::new("sh").arg("-n").arg(&path).status().unwrap();
            assert!(checked.success(), "{}", path.display());
            let text = std::fs::read_to_string(&path).unwrap();
            for word in [
                "rm ", "rmdir", "unlink", "deluser", "userdel", "find ", "debconf", "read ",
            ] {
                let used = text.lines().filter(|line| !line.trim_start().starts_with('#'));
                assert_eq!(
                    used.filter(|line| line.split("echo").next().unwrap().contains(word))
                        .count(),
                    0,
                    "{}: {word}",
                    path.display()
                );
            }
            assert!(
                text.contains("#DEBHELPER#"),
                "cargo-deb adds the units' handling there"
            );
        }
    }
}
