//! The schemas of Kubernetes' own objects, of several of its versions. `scripts/setup test` installs them.

use std::{io::Write as _, path::PathBuf, process::Command};

use tempfile::NamedTempFile;

use crate::{
    command::{Said, said},
    place,
};

/// The folder of the Python package kubernetes-validate, which holds them; none where it isn't installed.
pub fn find() -> Option<PathBuf> {
    let folder = place::cache().join("kubernetes-validate");
    folder.join("kubernetes_validate/__init__.py").is_file().then_some(folder)
}

/// What the schemas of a version (`1.37`) say against these objects, in YAML: nothing, and exit code 0, where they hold.
/// A field that they don't know is a fault, and so is a kind.
pub fn faults(version: &str, objects: &str) -> Said {
    let mut file = NamedTempFile::with_suffix(".yaml").expect("make a file");
    file.write_all(objects.as_bytes()).expect("write the objects");
    said(
        Command::new("python3")
            .args(["-m", "kubernetes_validate", "--strict", "--quiet", "--no-warn", "-k", version])
            .arg(file.path())
            .env("PYTHONPATH", find().expect("kubernetes-validate is installed")),
    )
}
