//! Wrong settings and wrong words at the shell.

use std::process::{Command, Output};

use system_tests::programs::binary;

fn run(program: &str, arguments: &[&str]) -> Output {
    Command::new(binary(program)).args(arguments).output().unwrap()
}

#[test]
fn bad_settings_exit_with_78_and_name_file_key_and_allowed_values() {
    let dir = tempfile::tempdir().unwrap();
    let cases = [
        (
            "minhquay-server",
            "serve",
            "public_url = \"https://a\"\ndata_dir = \"/nowhere\"\nzone = \"Hanoi\"\n",
            ["zone", "Asia/Ho_Chi_Minh"],
        ),
        (
            "minhquay-server",
            "migrate",
            "public_url = \"https://a\"\ndata_dir = \"/nowhere\"\n[live]\nport = 4\n",
            ["port", "udp_ports"],
        ),
        (
            "minhquay-recorder",
            "run",
            "site = \"a\"\ndata_dir = \"/nowhere\"\n[segment]\nduration_s = 1\n",
            ["segment.duration_s", "4 to 600"],
        ),
    ];
    for (program, command, text, expected) in cases {
        let file = dir.path().join("settings.toml");
        std::fs::write(&file, text).unwrap();
        let output = run(program, &[command, "--config", file.to_str().unwrap()]);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{program}: {errors}");
        for part in ["settings.toml", expected[0], expected[1]] {
            assert!(
                errors.contains(part),
                "{program}: {errors:?} does not say {part:?}"
            );
        }
    }
}

#[test]
fn wrong_usage_exits_with_2() {
    for (program, arguments) in [
        ("minhquay-server", &["serve"][..]),
        (
            "minhquay-server",
            &[
                "user", "add", "a", "--role", "king", "--unit", "u", "--config", "f",
            ],
        ),
        ("minhquay-recorder", &["probe"]),
        ("minhquay-recorder", &["fly"]),
    ] {
        assert_eq!(
            run(program, arguments).status.code(),
            Some(2),
            "{program} {arguments:?}"
        );
    }
}
