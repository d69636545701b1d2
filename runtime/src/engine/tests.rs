use std::ops::Range;

use ndarray::Axis;
use prost::Message;
use tract_onnx::pb::ModelProto;
use tract_onnx::pb::tensor_proto::DataLocation;

use super::fixture::{SIDE, description, ints, model, model_file, node, tensor, value};
use super::*;
use crate::kernels::Isa;
use crate::model::labels_sha256;
use crate::sketches::{Sketch, Sketches};
use crate::unknown::{Reason, Rejection, Score, energy};

fn load(model: &ModelProto) -> Result<Engine, LoadError> {
    Engine::from_bytes(model.encode_to_vec(), Options::default())
}

fn refusal(model: &ModelProto) -> String {
    match load(model) {
        Ok(_) => panic!("the model was taken"),
        Err(error) => error.to_string(),
    }
}

/// The refusal of the fixture after `edit`.
fn refusal_after(edit: impl FnOnce(&mut ModelProto)) -> String {
    let mut model = model(&description());
    edit(&mut model);
    refusal(&model)
}

fn engine() -> Engine {
    load(&model(&description())).unwrap()
}

fn red_corner() -> Frame {
    let mut pixels = vec![40_u8; 3 * 200 * 100];
    for y in 10..40 {
        for x in 150..180 {
            pixels[3 * (200 * y + x)..][..3].copy_from_slice(&[220, 30, 30]);
        }
    }
    Frame::new(200, 100, pixels).unwrap()
}

#[test]
fn the_engine_agrees_with_plain_loops() {
    let report = engine().self_test().unwrap();
    assert_eq!(report.cases.len(), 3);
    assert!(report.passed(), "{report:?}");
}

#[test]
fn a_prediction_names_the_class_and_the_place() {
    let prediction = engine().predict(&red_corner(), 2, true).unwrap();
    assert_eq!(prediction.top.len(), 2);
    assert_eq!(prediction.top[0].label, "Robin");
    assert!(prediction.top[0].probability > prediction.top[1].probability);
    let cue = &prediction.cues[0].cue;
    assert_eq!((cue.part, cue.channel), (0, 0));
    assert!((150.0..180.0).contains(&cue.x) && (10.0..40.0).contains(&cue.y), "{cue:?}");
    assert_eq!(prediction.unknown, None);
}

#[test]
fn shares_and_bias_sum_to_the_logit() {
    let engine = engine();
    for seed in 0..8 {
        let prediction = engine.predict(&pattern(seed, 90), 1, true).unwrap();
        let shares: f32 = prediction.cues.iter().map(|cue| cue.cue.share).sum();
        let answer = &prediction.top[0];
        let bias = engine.description().head.bias[answer.index];
        assert!((shares + bias - answer.logit).abs() < 1e-5, "seed {seed}");
    }
}

#[test]
fn cues_are_those_of_the_first_answer_for_any_top() {
    let engine = engine();
    let all = engine.predict(&red_corner(), 99, true).unwrap();
    assert_eq!(all.top.len(), 3);
    let none = engine.predict(&red_corner(), 0, true).unwrap();
    assert_eq!(none.top.len(), 0);
    assert_eq!(none.cues, all.cues);
    assert!(engine.predict(&red_corner(), 1, false).unwrap().cues.is_empty());
}

#[test]
fn an_answer_below_the_threshold_is_doubted_but_kept() {
    let mut doubtful = description();
    doubtful.thresholds.unknown = Some(1.0);
    let engine = load(&model(&doubtful)).unwrap();
    let prediction = engine.predict(&red_corner(), 1, false).unwrap();
    assert_eq!(prediction.top[0].label, "Robin");
    assert_eq!(prediction.unknown.unwrap().score, Score::Probability);
    doubtful.thresholds.rejection = Some(Rejection { score: Score::Energy, threshold: 1e6, kept: None });
    let engine = load(&model(&doubtful)).unwrap();
    let unknown = engine.predict(&red_corner(), 1, false).unwrap().unknown.unwrap();
    let answers = engine.predict(&red_corner(), 99, false).unwrap().top;
    let logits: Vec<f32> = answers.iter().map(|answer| answer.logit).collect();
    assert_eq!(unknown.score, Score::Energy);
    assert!((unknown.value - energy(&logits)).abs() < 1e-5, "{unknown}");
}

/// The fixture with sketches of its classes, made of the means of its maps.
fn sketched(threshold: f32) -> Description {
    let sketch = |channels: Range<usize>| {
        let features: Vec<f32> = (0..7).map(|k| f32::from(u8::from(channels.contains(&k)))).collect();
        Sketch::of(&features, 1.0 / 127.0)
    };
    let classes = [0..2, 2..4, 4..7].map(sketch).to_vec();
    Description {
        sketches: Some(Sketches { weights: vec![255; 7], scale: 0.5, classes, threshold, kept: None }),
        ..description()
    }
}

/// The fixture with an output more, of the node that makes the means of the maps.
fn with_features(description: &Description, name: &str, sides: &[i64]) -> ModelProto {
    let mut model = model(description);
    let graph = model.graph.as_mut().unwrap();
    for node in &mut graph.node {
        for name_of_means in node.input.iter_mut().chain(&mut node.output).filter(|value| *value == "means") {
            *name_of_means = name.to_string();
        }
    }
    graph.output.push(value(name, sides));
    model
}

#[test]
fn features_are_what_the_sketches_are_held_against() {
    for kernels in [Kernels::Best, Kernels::Only(Isa::Portable), Kernels::Tract] {
        let engine = |threshold| {
            let model = with_features(&sketched(threshold), "features", &[1, 7]);
            let options = Options { kernels, ..Options::default() };
            Engine::from_bytes(model.encode_to_vec(), options).unwrap()
        };
        let strict = engine(0.999);
        let (frame, _) = network_frame(&red_corner(), strict.description().input.resize, SIDE);
        let Output { maps, features, .. } = strict.run(&frame).unwrap();
        let cells = (maps.len() / 7) as f32;
        for (channel, feature) in features.iter().enumerate() {
            let mean = maps.index_axis(Axis(0), channel).sum() / cells;
            assert!((feature - mean).abs() < 1e-6, "{kernels:?}, {channel}: {feature}, {mean}");
        }
        let unknown = strict.predict(&red_corner(), 1, false).unwrap().unknown.unwrap();
        assert_eq!((unknown.score, unknown.reason), (Score::Likeness, Reason::Far));
        let expected = strict.description().sketches.as_ref().unwrap().likeness(&features, 0);
        assert!((unknown.value - expected).abs() < 1e-6, "{unknown}");
        assert_eq!(engine(expected - 0.01).predict(&red_corner(), 1, false).unwrap().unknown, None);
    }
}

#[test]
fn sketches_without_their_features_are_refused() {
    let missing = refusal(&model(&sketched(0.5)));
    assert!(
        missing.contains("\"features\" is missing") && missing.contains("which the sketches ask for"),
        "{missing}"
    );
    let mut of_eight = sketched(0.5);
    let sketches = of_eight.sketches.as_mut().unwrap();
    sketches.weights.push(1);
    sketches.classes.iter_mut().for_each(|class| class.0.push(0));
    let other = refusal(&with_features(&of_eight, "features", &[1, 7]));
    assert!(other.contains("expected f32 [1, 8]"), "{other}");
}

#[test]
fn features_without_sketches_are_not_computed() {
    let engine = load(&with_features(&description(), "features", &[1, 7])).unwrap();
    assert!(engine.run(&pattern(1, SIDE)).unwrap().features.is_empty());
}

#[test]
fn threads_share_an_engine_and_agree() {
    let engine = engine();
    let predicted = |seed| engine.predict(&pattern(seed, 64), 3, true).unwrap();
    let alone: Vec<_> = (0..4).map(predicted).collect();
    let together: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|seed| scope.spawn(move || predicted(seed))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for (a, b) in alone.iter().zip(&together) {
        assert_eq!((&a.top, &a.cues, &a.maps), (&b.top, &b.cues, &b.maps));
    }
}

#[test]
fn multiply_adds_count_the_convolution_and_the_scores() {
    let convolution = 14 * 14 * 7 * 3 * 8 * 8;
    let total = engine().multiply_adds();
    assert!(total >= convolution + 7 * 3, "{total}");
    assert!(total < convolution + convolution / 10, "{total}");
    assert_eq!(engine().map_size(), [14, 14]);
}

#[test]
fn every_cut_is_refused_without_a_panic() {
    let bytes = model_file();
    let step = (bytes.len() / 600).max(1);
    let ends = (0..bytes.len()).step_by(step).chain(bytes.len() - 64..bytes.len());
    for end in ends {
        let error = Engine::from_bytes(&bytes[..end], Options::default()).unwrap_err();
        assert!(!error.to_string().is_empty(), "{end}");
    }
}

#[test]
fn no_changed_byte_makes_loading_panic() {
    let bytes = model_file();
    // The weights are most of the file and any value will do there; the rest is structure.
    let structure = (0..bytes.len()).filter(|&at| !(600..bytes.len() - 1800).contains(&at));
    for at in structure.step_by(3) {
        for flip in [0x01, 0x80, 0xff] {
            let mut bytes = bytes.clone();
            bytes[at] ^= flip;
            if let Ok(engine) = Engine::from_bytes(bytes, Options::default()) {
                let _ = engine.self_test();
            }
        }
    }
}

#[test]
fn what_is_not_onnx_is_refused_as_such() {
    for bytes in [&b""[..], b"hello, world\n", &[0xff; 64], b"PK\x03\x04", b"\x08\x08"] {
        let error = Engine::from_bytes(bytes, Options::default()).unwrap_err();
        assert!(matches!(error, LoadError::NotOnnx { .. }), "{error}");
    }
}

#[test]
fn onnx_without_a_description_is_refused_with_what_is_missing() {
    let error = refusal_after(|model| model.metadata_props.clear());
    assert!(error.contains("no metadata \"fieldmark\" (it has no metadata at all)"), "{error}");
    let error = refusal_after(|model| model.metadata_props[0].key = "author".to_string());
    assert!(error.contains("(it has author)"), "{error}");
}

#[test]
fn permuted_labels_are_refused() {
    let mut permuted = description();
    permuted.labels.swap(0, 2);
    let error = refusal(&model(&permuted));
    assert!(error.contains("edited or reordered"), "{error}");
}

#[test]
fn another_number_of_labels_than_logits_is_refused() {
    let mut longer = description();
    longer.labels.push("Wren".to_string());
    longer.labels_sha256 = labels_sha256(&longer.labels);
    longer.layout = crate::layout::Layout::from_sizes(&[2, 2, 2, 1]).unwrap();
    longer.head.bias.push(0.0);
    longer.self_test.clear();
    let mut wrong = model(&longer);
    let right = model(&description());
    wrong.graph.clone_from(&right.graph);
    let error = refusal(&wrong);
    assert!(error.contains("\"logits\": expected f32 [1, 4]"), "{error}");
}

#[test]
fn maps_of_another_size_are_refused() {
    let mut coarser = description();
    coarser.map_stride = 16;
    let error = refusal(&model(&coarser));
    assert!(error.contains("expected about 7 x 7 cells, got 14 x 14"), "{error}");
}

#[test]
fn wrong_names_are_refused_with_those_there_are() {
    let error = refusal_after(|model| {
        let graph = model.graph.as_mut().unwrap();
        graph.node[1].output[0] = "features".to_string();
        graph.node[2].input[0] = "features".to_string();
        graph.output[1].name = "features".to_string();
    });
    assert!(error.contains("\"maps\" is missing") && error.contains("features"), "{error}");
    let error = refusal_after(|model| {
        let graph = model.graph.as_mut().unwrap();
        graph.input[0].name = "pixels".to_string();
        graph.node[0].input[0] = "pixels".to_string();
    });
    assert!(error.contains("expected one, \"image\"") && error.contains("\"pixels\" f32"), "{error}");
    let error = refusal_after(|model| {
        model.graph.as_mut().unwrap().node.pop();
    });
    assert!(error.contains("\"logits\": expected a node that makes it"), "{error}");
}

#[test]
fn another_input_size_than_described_is_refused() {
    let error = refusal_after(|model| {
        model.graph.as_mut().unwrap().input[0] = value("image", &[1, 3, 224, 224]);
    });
    assert!(error.contains(&format!("[1, 3, {SIDE}, {SIDE}]")), "{error}");
    assert!(error.contains("[1, 3, 224, 224]"), "{error}");
}

#[test]
fn graphs_that_would_cost_far_more_than_their_file_are_refused() {
    let error = refusal_after(|model| {
        let graph = model.graph.as_mut().unwrap();
        let shared = node("Identity", &[""], "a", vec![]);
        graph.node.insert(0, shared);
    });
    assert!(error.contains("expected an input, got none"), "{error}");
    let error = refusal_after(|model| {
        let graph = model.graph.as_mut().unwrap();
        graph.node.push(node("MaxPool", &["maps"], "a", vec![ints("kernel_shape", &[20_000; 2])]));
    });
    assert!(error.contains("kernel_shape") && error.contains("1 to 64, got 20000"), "{error}");
    let error = refusal_after(|model| {
        let graph = model.graph.as_mut().unwrap();
        let form = vec![ints("value_ints", &[1; 9])];
        graph.node.insert(0, node("Constant", &[], "a", form));
    });
    assert!(error.contains("its values in another form"), "{error}");
    let error = refusal_after(|model| {
        let graph = model.graph.as_mut().unwrap();
        graph.node.reverse();
    });
    assert!(error.contains("inputs that nodes before it make"), "{error}");
}

#[test]
fn unsupported_operators_are_all_named() {
    let error = refusal_after(|model| {
        let graph = model.graph.as_mut().unwrap();
        graph.node.push(node("Loop", &["maps"], "a", vec![]));
        graph.node.push(node("RandomNormal", &[], "b", vec![]));
    });
    assert!(error.contains("Loop, RandomNormal"), "{error}");
}

#[test]
fn weights_in_other_files_are_refused() {
    let error = refusal_after(|model| {
        let tensor = &mut model.graph.as_mut().unwrap().initializer[0];
        tensor.float_data.clear();
        tensor.data_location = Some(DataLocation::External as i32);
    });
    assert!(error.contains("\"kernel\"") && error.contains("in another file"), "{error}");
}

#[test]
fn constants_are_as_long_as_their_shape() {
    let error = refusal_after(|model| {
        model.graph.as_mut().unwrap().initializer[0].dims[0] = 1 << 40;
    });
    assert!(error.contains("constant \"kernel\": expected the values of shape"), "{error}");
}

#[test]
fn constants_are_not_multiplied_into_larger_ones() {
    let error = refusal_after(|model| {
        let graph = model.graph.as_mut().unwrap();
        graph.initializer.push(tensor("row", &[1, 4], vec![1.0; 4]));
        graph.initializer.push(tensor("column", &[4, 1], vec![1.0; 4]));
        graph.node.insert(0, node("Mul", &["row", "column"], "table", vec![]));
    });
    assert!(error.contains("\"make table\"") && error.contains("Mul of constants"), "{error}");
}

#[test]
fn a_graph_that_does_not_fit_together_is_refused() {
    let error = refusal_after(|model| {
        let matrix = &mut model.graph.as_mut().unwrap().initializer[2];
        matrix.dims = vec![3, 7];
    });
    assert!(error.contains("cannot be prepared"), "{error}");
    let error = refusal_after(|model| {
        model.graph.as_mut().unwrap().node[1].input[0] = "nowhere".to_string();
    });
    assert!(error.contains("\"nowhere\""), "{error}");
}

#[test]
fn a_logit_that_is_no_number_is_an_error() {
    for value in [f32::NAN, f32::INFINITY] {
        let mut broken = model(&description());
        broken.graph.as_mut().unwrap().initializer[3].float_data[1] = value;
        let engine = load(&broken).unwrap();
        let error = engine.predict(&red_corner(), 1, true).unwrap_err();
        assert!(error.to_string().contains("\"Greenfinch\""), "{error}");
        assert!(engine.self_test().is_err());
    }
}

#[test]
fn changed_weights_fail_the_self_test() {
    let mut changed = model(&description());
    changed.graph.as_mut().unwrap().initializer[3].float_data[1] += 1e-3;
    let report = load(&changed).unwrap().self_test().unwrap();
    assert!(!report.passed());
    assert!(report.cases[0].logits > 1.0 && report.cases[0].shares > Some(1.0));
}

#[test]
fn a_model_without_self_tests_has_not_passed() {
    let mut untested = description();
    untested.self_test.clear();
    let report = load(&model(&untested)).unwrap().self_test().unwrap();
    assert!(!report.passed());
}

#[test]
fn f16_of_tracts_kernels_is_refused_where_the_processor_lacks_it() {
    let options = Options { precision: Precision::F16, kernels: Kernels::Tract, ..Options::default() };
    match Engine::from_bytes(model_file(), options) {
        Ok(engine) => assert_eq!(engine.arithmetic(), "f16"),
        Err(error) => {
            assert!(!has_half_arithmetic());
            assert!(error.to_string().contains("has no f16 arithmetic"), "{error}");
        }
    }
}

#[test]
fn a_gpu_gives_the_answer_or_says_why_it_cannot() {
    for precision in [Precision::F32, Precision::F16] {
        let options = Options { device: Device::Cuda, precision, ..Options::default() };
        match Engine::from_bytes(model_file(), options) {
            Ok(there) => {
                assert!(there.arithmetic().contains("on the GPU"), "{}", there.arithmetic());
                let names = |engine: &Engine| engine.predict(&red_corner(), 3, true).unwrap().top;
                for (a, b) in names(&engine()).iter().zip(names(&there)) {
                    assert_eq!(a.label, b.label);
                    assert!((a.logit - b.logit).abs() < 0.02, "{a:?} {b:?}");
                }
            }
            Err(error) => {
                assert!(matches!(error, LoadError::NoGpu { .. }), "{error}");
                assert!(error.to_string().contains("compute on the processor"), "{error}");
            }
        }
    }
}

#[test]
fn f16_keeps_the_answer() {
    for kernels in [Kernels::Best, Kernels::Only(Isa::Portable), Kernels::Tract] {
        let options = Options { precision: Precision::F16, kernels, ..Options::default() };
        // Without the check of the processor: slow in tract, but this model is small.
        let half = Engine::prepared(model_file(), options).unwrap();
        assert!(half.self_test().unwrap().passed());
        let (exact, rounded) = (
            engine().predict(&red_corner(), 3, true).unwrap(),
            half.predict(&red_corner(), 3, true).unwrap(),
        );
        for (a, b) in exact.top.iter().zip(&rounded.top) {
            assert_eq!(a.label, b.label);
            assert!((a.logit - b.logit).abs() < 0.02, "{a:?} {b:?}");
        }
    }
}

#[test]
fn folders_and_absent_files_are_refused_as_models() {
    let folder = std::env::temp_dir();
    let error = Engine::load(&folder, Options::default()).unwrap_err();
    assert!(matches!(error, LoadError::NotAFile { model: None, .. }), "{error}");
    let absent = folder.join("fieldmark-no-such-model.onnx");
    let error = Engine::load(&absent, Options::default()).unwrap_err();
    assert!(error.to_string().contains("no-such-model"), "{error}");
}

#[test]
fn frames_of_another_size_do_not_run() {
    let error = engine().run(&pattern(1, SIDE + 1)).unwrap_err();
    assert!(error.to_string().contains("takes 112 x 112 pixels, got 113 x 113"), "{error}");
}

#[test]
fn only_small_whole_factors_make_maps_larger() {
    let resized = |count: usize, dims: &[i64], scales: Vec<f32>| {
        refusal_after(|model| {
            let graph = model.graph.as_mut().unwrap();
            graph.initializer.push(tensor("scales", dims, scales.clone()));
            for at in 0..count {
                graph.node.push(node("Resize", &["maps", "", "scales"], &format!("larger{at}"), Vec::new()));
            }
        })
    };
    for scales in [
        vec![1.0, 1.0, 9.0, 1.0],
        vec![1.0, 2.0, 1.0, 1.0],
        vec![1.0, 1.0, 1.5, 2.0],
        vec![1.0, 1.0, f32::NAN, 1.0],
    ] {
        let message = resized(1, &[4], scales);
        assert!(message.contains("scales 1, 1, and two whole numbers up to 8"), "{message}");
    }
    assert!(resized(1, &[2], vec![2.0, 2.0]).contains("two whole numbers"));
    assert!(resized(4, &[4], vec![1.0, 1.0, 2.0, 4.0]).contains("64 times the cells at most"));
    // A size that is computed, or no constant at all.
    let message = refusal_after(|model| {
        let graph = model.graph.as_mut().unwrap();
        graph.node.push(node("Resize", &["maps", "", "maps"], "larger", Vec::new()));
    });
    assert!(message.contains("in a constant"), "{message}");
}
