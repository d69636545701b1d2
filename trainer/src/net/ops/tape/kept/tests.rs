//! On the CPU, with a product as the operation that joins.

use candle_core::{Result, Storage, Tensor, Var, WithDType};

use super::super::super::reference::{flat, random};
use super::super::super::relu;
use super::super::{Arrived, record};
use super::{Backward, Input, join, note_view};

/// `a b`, element by element.
struct Product([Tensor; 2], [bool; 2]);

impl Backward for Product {
    fn name(&self) -> &'static str {
        "product"
    }

    fn gradients(&self, _: Option<&Tensor>, dy: &Tensor) -> Result<Arrived> {
        let [a, b] = &self.0;
        let [of_a, of_b] = self.1;
        let times = |other: &Tensor| dy * other;
        Ok([of_a.then(|| times(b)).transpose()?, of_b.then(|| times(a)).transpose()?, None])
    }
}

fn product(a: &Input, b: &Input) -> Result<Tensor> {
    let [x, y] = [a, b].map(|input| input.values.detach());
    let values = flat(&(&x * &y)?);
    let result = Storage::Cpu(<f64 as WithDType>::to_cpu_storage_owned(values));
    let shape = x.shape().clone();
    join(&[a, b], result, shape, Product([x, y], [a.is_tracked(), b.is_tracked()]))
}

/// The cube of `a` by `c`, made of a product that is used twice, with an operation of the other kind between.
fn cube(a: &Tensor, c: &Tensor) -> Result<Tensor> {
    let square = product(&Input::of(a)?, &Input::of(a)?)?;
    let square = relu(&square)?;
    let cube = product(&Input::of(&square)?, &Input::of(a)?)?;
    product(&Input::of(&cube)?, &Input::of(c)?)
}

#[test]
fn the_tape_finds_the_gradients_that_candle_finds() {
    let (a, c) = (Var::from_tensor(&random(1, &[2, 3])).unwrap(), random(2, &[2, 3]));
    let (y, tape) = record(&c, || cube(&a, &c)).unwrap();
    assert!(!y.track_op());
    let gradients = tape.backward(&y, y.ones_like().unwrap()).unwrap();
    let by_candle = cube(&a, &c).unwrap().sum_all().unwrap().backward().unwrap();
    let (found, expected) = (flat(gradients.get(&a).unwrap()), flat(by_candle.get(&a).unwrap()));
    for ((found, expected), (a, c)) in found.iter().zip(expected).zip(flat(&a).iter().zip(flat(&c))) {
        assert!((found - expected).abs() < 1e-14);
        assert!((found - 3.0 * a * a * c).abs() < 1e-14);
    }
}

#[test]
fn maps_that_lie_channels_last_lead_to_what_they_show() {
    let a = Var::from_tensor(&random(3, &[1, 2, 3, 4])).unwrap();
    let run = || {
        let y = product(&Input::of(&a)?, &Input::of(&a)?)?;
        let shown = y.permute((0, 3, 1, 2))?;
        note_view(&shown, &y);
        let lying = shown.permute((0, 2, 3, 1))?.contiguous()?;
        let cube = product(&Input::view(&shown, lying), &Input::of(&a)?)?;
        let shown = cube.permute((0, 3, 1, 2))?;
        note_view(&shown, &cube);
        Ok(shown)
    };
    let (y, tape) = record(&random(4, &[1]), run).unwrap();
    assert_eq!(y.dims(), [1, 4, 2, 3]);
    let gradients = tape.backward(&y, y.ones_like().unwrap()).unwrap();
    for (found, a) in flat(gradients.get(&a).unwrap()).iter().zip(flat(&a)) {
        assert!((found - 3.0 * a * a).abs() < 1e-14);
    }
}

#[test]
fn an_input_of_candles_graph_is_refused_while_recording() {
    let a = Var::from_tensor(&random(5, &[3])).unwrap();
    let run = || product(&Input::of(&(a.as_tensor() * 2.0)?)?, &Input::of(&a)?);
    let error = record(&random(6, &[3]), run).err().unwrap().to_string();
    assert!(error.contains("product: [3] was made by no recorded operation"), "{error}");
}

#[test]
fn maps_that_no_recorded_operation_made_are_refused_though_candle_tracks_them_as_little() {
    let a = Var::from_tensor(&random(3, &[1, 2, 3, 4])).unwrap();
    let elsewhere = random(4, &[1, 4, 2, 3]);
    let lying = |maps: &Tensor| maps.permute((0, 2, 3, 1))?.contiguous();
    let run = |change: &dyn Fn(Tensor) -> Result<Tensor>| {
        let run = || {
            let y = product(&Input::of(&a)?, &Input::of(&a)?)?;
            let shown = y.permute((0, 3, 1, 2))?;
            note_view(&shown, &y);
            let changed = change(shown)?;
            product(&Input::of(&a)?, &Input::view(&changed, lying(&changed)?))
        };
        record(&random(5, &[1]), run)
    };
    assert!(run(&Ok).is_ok());
    for change in [&|maps| maps * 2.0, &|_| Ok(elsewhere.clone())] as [&dyn Fn(Tensor) -> Result<Tensor>; 2] {
        let error = run(change).err().unwrap().to_string();
        assert!(error.contains("product: [1, 4, 2, 3] was made by no recorded operation"), "{error}");
    }
}
