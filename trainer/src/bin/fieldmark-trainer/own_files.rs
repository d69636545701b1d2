//! What a subcommand writes stands in no place that a run's own files or what was read stand in.

use std::path::Path;

use anyhow::{Result, ensure};
use fieldmark_trainer::run::folder::place;

/// Refuses `path` inside the folder `run`, unless it is the run's own file of the name `own`: a run with unknown files in it
/// could not be resumed, and one whose checkpoint was replaced is lost.
///
/// # Errors
/// The path, and where else it may be.
pub fn refuse_inside(run: &Path, path: &Path, own: Option<&str>) -> Result<()> {
    let own = own.map(|name| run.join(name));
    let is_own = own.as_ref().is_some_and(|own| place(own) == place(path));
    let or = own.map_or(String::new(), |own| format!(", or {}", own.display()));
    ensure!(
        is_own || !place(path).starts_with(place(run)),
        "{} lies inside the run's folder, where only the run's own files may be; choose a place outside of it{or}",
        path.display(),
    );
    Ok(())
}

/// Refuses to write over the file that is read.
///
/// # Errors
/// The path.
pub fn refuse_same(read: &Path, written: &Path) -> Result<()> {
    ensure!(
        place(read) != place(written),
        "{} is the file that is read; choose another one to write",
        written.display()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_runs_own_files_are_found_by_any_path() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        fs::create_dir(&run).unwrap();
        for inside in ["run/last.safetensors", "run/../run/model.onnx", "./run/a/b.html"] {
            let path = folder.path().join(inside);
            assert!(refuse_inside(&run, &path, Some("report.html")).is_err(), "{inside}");
        }
        let own = folder.path().join("run/../run/report.html");
        refuse_inside(&run, &own, Some("report.html")).unwrap();
        assert!(refuse_inside(&run, &own, None).is_err());
        refuse_inside(&run, &folder.path().join("run.html"), None).unwrap();
        assert!(refuse_same(&run.join("a"), &folder.path().join("run/../run/a")).is_err());
        refuse_same(&run.join("a"), &run.join("b")).unwrap();
    }
}
