//! A report is one file of its run, made from the run alone, and the run stays a run.

use std::ffi::OsStr;
use std::fs;

use crate::program::{SHORT, birds, run};

#[test]
fn a_run_with_its_report_and_events_goes_on_and_is_reported_from_moved_pictures_too() {
    let folder = tempfile::tempdir().unwrap();
    let (birds, out) = (birds(folder.path()), folder.path().join("run"));
    let train = [OsStr::new("train"), birds.as_ref(), "--out".as_ref(), out.as_ref()];
    let train = || run("fieldmark-trainer", train.into_iter().chain(SHORT.map(OsStr::new)));
    train().expect(0);
    let report = [OsStr::new("report"), out.as_ref()];
    run("fieldmark-trainer", report).expect(0);
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("Sickle_billed") || page.contains("Amber_crowned"), "no species is named");
    let events = report.into_iter().chain([OsStr::new("--tensorboard"), out.as_ref()]);
    run("fieldmark-trainer", events).expect(0);
    assert!(out.join("events.out.tfevents.fieldmark").is_file());
    let inside = out.join("pages/report.html");
    let refused =
        run("fieldmark-trainer", report.into_iter().chain([OsStr::new("--out"), inside.as_ref()])).expect(1);
    assert!(refused.err().contains("outside"), "{}", refused.err());
    train().expect(0);

    let moved = folder.path().join("moved");
    fs::rename(&birds, &moved).unwrap();
    let lost = run("fieldmark-trainer", report).expect(1);
    assert!(lost.err().contains("birds"), "{}", lost.err());
    let elsewhere = folder.path().join("elsewhere.html");
    let found = [OsStr::new("--data"), moved.as_ref(), "--out".as_ref(), elsewhere.as_ref()];
    run("fieldmark-trainer", report.into_iter().chain(found)).expect(0);
    assert!(elsewhere.is_file());
}
