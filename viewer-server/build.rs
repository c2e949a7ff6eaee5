//! Rebuilds the crate when a migration or the built page changes.

fn main() {
    println!("cargo:rerun-if-changed=src/db/migrations");
    println!("cargo:rerun-if-changed=../web-viewer/dist");
}
