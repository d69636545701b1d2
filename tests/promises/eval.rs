//! A run is measured on any labelled pictures, and stays as it is.

use std::ffi::OsStr;
use std::fs;

use crate::program::{run, trained};

#[test]
fn a_run_is_measured_on_other_pictures_of_its_classes_and_of_others() {
    let folder = tempfile::tempdir().unwrap();
    let (trained, _) = trained(folder.path());
    let eval = |more: &[&OsStr]| {
        let args = [OsStr::new("eval"), trained.as_ref()].into_iter().chain(more.iter().copied());
        run("fieldmark-trainer", args)
    };
    eval(&[]).expect(0);
    let record = fs::read(trained.join("eval.json")).unwrap();
    // Three pictures of one of its classes, two of another, and a file that is no picture.
    let (source, others) =
        (folder.path().join("birds/images/001.Amber_crowned_Warbler"), folder.path().join("others"));
    for (class, numbers) in [("Amber_crowned_Warbler", 1..=3), ("Wall", 4..=5)] {
        fs::create_dir_all(others.join(class)).unwrap();
        for number in numbers {
            let name = format!("Amber_crowned_Warbler_000{number}.jpg");
            fs::copy(source.join(&name), others.join(class).join(&name)).unwrap();
        }
    }
    fs::write(others.join("Wall/notes.txt"), "no picture").unwrap();
    let table = folder.path().join("predictions.csv");
    let asked = [OsStr::new("--on"), others.as_ref(), "--predictions".as_ref(), table.as_ref()];
    let said = eval(&asked).expect(0).out();
    assert!(said.contains("3 pictures of its classes: accuracy"), "{said}");
    assert!(said.contains("2 pictures of 1 other class (Wall): "), "{said}");
    assert_eq!(fs::read(trained.join("eval.json")).unwrap(), record, "the run's own figures changed");
    let table = fs::read_to_string(&table).unwrap();
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(
        rows[0][..6],
        ["picture", "label", "answer", "probability", "unknown", "Amber_crowned_Warbler"]
    );
    let labels: Vec<&str> = rows[1..].iter().map(|row| row[1]).collect();
    assert_eq!(labels, ["Amber_crowned_Warbler"; 3].into_iter().chain(["Wall"; 2]).collect::<Vec<_>>());
    for row in &rows[1..] {
        let probabilities = row[5..].iter().map(|cell| cell.parse::<f64>().unwrap());
        assert!((probabilities.sum::<f64>() - 1.0).abs() < 1e-5, "{row:?}");
        assert!(["yes", "no"].contains(&row[4]), "{row:?}");
    }
    // Strangers alone are no reason to fail; a folder without pictures is.
    fs::remove_dir_all(others.join("Amber_crowned_Warbler")).unwrap();
    assert!(!eval(&asked).expect(0).out().contains("accuracy"));
    fs::remove_dir_all(others.join("Wall")).unwrap();
    let refused = eval(&asked).expect(1);
    assert!(refused.err().contains("others"), "{}", refused.err());
}
