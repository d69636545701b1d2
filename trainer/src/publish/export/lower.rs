//! Layers to an ONNX graph.

use std::collections::BTreeSet;

use candle_core::{Device, Result, Tensor};
use fieldmark::layout::{Layout, Run};

use super::WeightType;
use crate::net::layer::{
    BatchNorm, Conv, GroupLinear, Layer, Linear, Params, Pool, Shape, ShapeError, layer_shape,
};
use crate::net::network::Network;
use crate::net::onnx::{Attribute, DataType, Graph, Node, TensorData, ValueInfo};

/// The graph of a network for one picture of `side`: input `image` `[1, 3, S, S]`, outputs `logits` `[1, c]`,
/// `maps` `[1, N, H, W]`, and, if asked for, `features` `[1, K]`, the means of the backbone's last maps.
///
/// # Errors
/// Layers that do not fit each other, as candle's message; parameters that are missing.
pub fn graph(network: &Network, side: usize, weights: WeightType, features: bool) -> Result<Graph> {
    let mut lowering =
        Lowering { params: &network.params, weights, graph: Graph::default(), taken: BTreeSet::new() };
    let image = Value { name: "image".into(), shape: Shape::Maps([3, side, side]) };
    let (backbone, class_aligned) = network.trunk.split_at(network.backbone_depth());
    let (last, maps) = match (backbone, class_aligned) {
        ([near @ .., Layer::Beside { body }], [Layer::Conv(conv), above @ ..]) if conv.is_pointwise() => {
            let near = lowering.layers(near, &image)?;
            let deep = lowering.layers(body, &near)?;
            let both = lowering.levels(&near, &deep, conv)?;
            (deep, lowering.layers(above, &both)?)
        }
        _ => {
            let last = lowering.layers(backbone, &image)?;
            let maps = lowering.layers(class_aligned, &last)?;
            (last, maps)
        }
    };
    let maps = lowering.output(&maps, "maps");
    let last = if class_aligned.is_empty() { maps.clone() } else { last };
    let logits = lowering.layers(&network.head, &maps)?;
    let logits = lowering.output(&logits, "logits");
    let mut output = vec![logits.info(), maps.info()];
    if features {
        let features = lowering.layers(&[Layer::GlobalPool], &last)?;
        output.push(lowering.output(&features, "features").info());
    }
    Ok(Graph { name: "fieldmark".into(), input: vec![image.info()], output, ..lowering.graph })
}

/// A value of the graph: what is computed, and its shape without the batch of 1.
#[derive(Clone)]
struct Value {
    name: String,
    shape: Shape,
}

impl Value {
    fn info(&self) -> ValueInfo {
        ValueInfo::f32(&self.name, &self.dims())
    }

    fn dims(&self) -> Vec<usize> {
        match self.shape {
            Shape::Maps([channels, height, width]) => vec![1, channels, height, width],
            Shape::Vector(values) => vec![1, values],
        }
    }
}

struct Lowering<'a> {
    params: &'a Params,
    weights: WeightType,
    graph: Graph,
    /// Names of initialisers that several nodes share.
    taken: BTreeSet<String>,
}

impl Lowering<'_> {
    fn layers(&mut self, layers: &[Layer], input: &Value) -> Result<Value> {
        layers.iter().try_fold(input.clone(), |value, layer| self.layer(layer, &value))
    }

    fn layer(&mut self, layer: &Layer, input: &Value) -> Result<Value> {
        let shape = layer_shape(layer, input.shape)
            .map_err(|e: ShapeError| candle_core::Error::Msg(e.to_string()))?;
        let x = input.name.as_str();
        let name = match layer {
            Layer::Normalise { mean, std } => self.normalise(x, mean, std),
            Layer::Conv(conv) => self.conv(conv, input)?,
            Layer::BatchNorm(norm) => self.batch_norm(norm, x)?,
            Layer::Relu => self.node("Relu", "", &[x], Vec::new()),
            Layer::Relu6 => {
                let low = self.scalar("zero", 0.0);
                let high = self.scalar("six", 6.0);
                self.node("Clip", "", &[x, &low, &high], Vec::new())
            }
            Layer::MaxPool(pool) => self.max_pool(*pool, input),
            Layer::AvgPool { kernel, stride } => {
                let attributes = vec![ints("kernel_shape", &[*kernel; 2]), ints("strides", &[*stride; 2])];
                self.node("AveragePool", "", &[x], attributes)
            }
            Layer::Residual { body, shortcut } => {
                let (body, shortcut) = (self.layers(body, input)?, self.layers(shortcut, input)?);
                self.node("Add", "", &[&body.name, &shortcut.name], Vec::new())
            }
            Layer::Beside { body } => {
                let deep = self.layers(body, input)?;
                let deep = self.repeated(&deep, sides(input));
                self.node("Concat", "", &[x, &deep], vec![Attribute::int("axis", 1)])
            }
            Layer::GlobalPool => {
                let means = self.node("GlobalAveragePool", "", &[x], Vec::new());
                self.node("Flatten", "", &[&means], vec![Attribute::int("axis", 1)])
            }
            Layer::Ccmp { layout } => self.ccmp(layout, input),
            Layer::GroupLinear(linear) => self.group_linear(linear, x)?,
            Layer::Linear(linear) => self.linear(linear, x)?,
            Layer::Dropout { .. } => x.to_owned(),
        };
        Ok(Value { name, shape })
    }

    /// A 1x1 convolution of two levels of maps: on each at its own cells, the coarser one's result repeated over the finer
    /// cells and added. The same function as on both beside each other, for a fraction of the products.
    fn levels(&mut self, near: &Value, deep: &Value, conv: &Conv) -> Result<Value> {
        let Shape::Maps([channels, height, width]) = near.shape else {
            return Err(candle_core::Error::Msg(format!("{}: two levels of vectors", conv.name)));
        };
        let weight = self.params.get(&format!("{}.weight", conv.name))?.as_detached_tensor();
        let own = weight.narrow(1, 0, channels)?.contiguous()?;
        let far = weight.narrow(1, channels, conv.inputs - channels)?.contiguous()?;
        let far = self.weights(&format!("{}.deep.weight", conv.name), &far)?;
        let [rows, columns] = sides(deep);
        let name = self.node("Conv", &format!("{}.deep", conv.name), &[&deep.name, &far], Vec::new());
        let deep = Value { name, shape: Shape::Maps([conv.outputs, rows, columns]) };
        let deep = self.repeated(&deep, [height, width]);
        let mut inputs = vec![near.name.clone(), self.weights(&format!("{}.weight", conv.name), &own)?];
        if conv.bias {
            inputs.push(self.parameter(&format!("{}.bias", conv.name))?);
        }
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let near = self.node("Conv", &conv.name, &inputs, Vec::new());
        let name = self.node("Add", "", &[&near, &deep], Vec::new());
        Ok(Value { name, shape: Shape::Maps([conv.outputs, height, width]) })
    }

    /// Maps whose cells are repeated to fill `height` and `width`, which are multiples of theirs.
    fn repeated(&mut self, maps: &Value, [height, width]: [usize; 2]) -> String {
        let [rows, columns] = sides(maps);
        let (down, across) = (height / rows, width / columns);
        let scales = TensorData::f32(
            &format!("scales_{down}_{across}"),
            &[4],
            &[1.0, 1.0, down as f32, across as f32],
        );
        let scales = self.constant(scales);
        let modes = [
            ("mode", "nearest"),
            ("coordinate_transformation_mode", "asymmetric"),
            ("nearest_mode", "floor"),
        ];
        let modes = modes.map(|(name, value)| Attribute::string(name, value)).to_vec();
        self.node("Resize", "", &[&maps.name, "", &scales], modes)
    }

    /// Calls the last node's output by the name of a graph output.
    fn output(&mut self, value: &Value, name: &str) -> Value {
        let last = self.graph.node.last_mut().filter(|node| node.output[0] == value.name);
        match last {
            Some(node) => name.clone_into(&mut node.output[0]),
            // A list without a computing layer hands its input through.
            None => self.graph.node.push(node("Identity", name, &[&value.name], Vec::new())),
        }
        Value { name: name.to_owned(), shape: value.shape }
    }

    /// Adds a node, called `name` or else by its operator and number; returns its output's name.
    fn node(&mut self, operator: &str, name: &str, inputs: &[&str], attributes: Vec<Attribute>) -> String {
        let name = match name {
            "" => format!("{operator}_{}", self.graph.node.len()),
            name => name.to_owned(),
        };
        self.graph.node.push(node(operator, &name, inputs, attributes));
        name
    }

    /// Adds a parameter's values; returns the name of the f32 value.
    fn parameter(&mut self, name: &str) -> Result<String> {
        self.weights(name, &self.params.get(name)?.as_detached_tensor())
    }

    /// Adds values, as f32 or as f16 with a cast; returns the name of the f32 value. Vectors stay
    /// f32: they are a thousandth of the file, and biases are where rounding shows.
    fn weights(&mut self, name: &str, tensor: &Tensor) -> Result<String> {
        let tensor = tensor.to_device(&Device::Cpu)?;
        let values = tensor.flatten_all()?.to_vec1::<f32>()?;
        if self.weights == WeightType::F16 && tensor.rank() > 1 {
            self.graph.initializer.push(TensorData::f16(name, tensor.dims(), &values));
            let cast = vec![Attribute::int("to", DataType::Float as i64)];
            Ok(self.node("Cast", &format!("{name}.f32"), &[name], cast))
        } else {
            self.graph.initializer.push(TensorData::f32(name, tensor.dims(), &values));
            Ok(name.to_owned())
        }
    }

    /// Adds a constant under a name of its own.
    fn constant(&mut self, tensor: TensorData) -> String {
        let name = tensor.name.clone();
        if self.taken.insert(name.clone()) {
            self.graph.initializer.push(tensor);
        }
        name
    }

    fn scalar(&mut self, name: &str, value: f32) -> String {
        self.constant(TensorData::f32(name, &[], &[value]))
    }

    fn integers(&mut self, values: &[usize]) -> String {
        let values: Vec<i64> = values.iter().map(|value| *value as i64).collect();
        let name = values.iter().fold("ints".to_owned(), |name, value| format!("{name}_{value}"));
        self.constant(TensorData::i64(&name, &values))
    }

    fn normalise(&mut self, x: &str, mean: &[f32; 3], std: &[f32; 3]) -> String {
        let mean = self.constant(TensorData::f32("image.mean", &[1, 3, 1, 1], mean));
        let scale = self.constant(TensorData::f32("image.scale", &[1, 3, 1, 1], &std.map(|std| 1.0 / std)));
        let centred = self.node("Sub", "", &[x, &mean], Vec::new());
        self.node("Mul", "", &[&centred, &scale], Vec::new())
    }

    fn conv(&mut self, conv: &Conv, input: &Value) -> Result<String> {
        let mut inputs = vec![input.name.clone(), self.parameter(&format!("{}.weight", conv.name))?];
        if conv.bias {
            inputs.push(self.parameter(&format!("{}.bias", conv.name))?);
        }
        let attributes = vec![
            Attribute::int("group", conv.groups as i64),
            ints("kernel_shape", &conv.kernel),
            ints("pads", &conv.padding.around(sides(input), conv.kernel, conv.stride)),
            ints("strides", &[conv.stride; 2]),
        ];
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        Ok(self.node("Conv", &conv.name, &inputs, attributes))
    }

    fn batch_norm(&mut self, norm: &BatchNorm, x: &str) -> Result<String> {
        let mut inputs = vec![x.to_owned()];
        for part in ["weight", "bias", "running_mean", "running_var"] {
            inputs.push(self.parameter(&format!("{}.{part}", norm.name))?);
        }
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let eps = Attribute::float("epsilon", norm.eps as f32);
        Ok(self.node("BatchNormalization", &norm.name, &inputs, vec![eps]))
    }

    fn max_pool(&mut self, pool: Pool, input: &Value) -> String {
        let kernel = [pool.kernel; 2];
        let attributes = vec![
            ints("kernel_shape", &kernel),
            ints("pads", &pool.padding.around(sides(input), kernel, pool.stride)),
            ints("strides", &[pool.stride; 2]),
        ];
        self.node("MaxPool", "", &[&input.name], attributes)
    }

    /// The maximum of each group: runs of equal groups are reshaped to `[1, classes, xi, H, W]`.
    fn ccmp(&mut self, layout: &Layout, input: &Value) -> String {
        let [height, width] = sides(input);
        self.each_run(layout, &input.name, &[height, width], |lowering, groups| {
            let attributes = vec![ints("axes", &[2]), Attribute::int("keepdims", 0)];
            lowering.node("ReduceMax", "", &[groups], attributes)
        })
    }

    fn group_linear(&mut self, linear: &GroupLinear, x: &str) -> Result<String> {
        let weight = self.parameter(&format!("{}.weight", linear.name))?;
        let bias = self.parameter(&format!("{}.bias", linear.name))?;
        let weighted = self.node("Mul", "", &[x, &weight], Vec::new());
        let sums = self.each_run(&linear.layout, &weighted, &[], |lowering, groups| {
            let axis = lowering.integers(&[2]);
            lowering.node("ReduceSum", "", &[groups, &axis], vec![Attribute::int("keepdims", 0)])
        });
        Ok(self.node("Add", &linear.name, &[&sums, &bias], Vec::new()))
    }

    /// Reduces each run of equal groups of `x`, `[1, N, ..rest]`, seen as `[1, classes, xi, ..rest]`, over its
    /// axis 2, and puts the runs together again along the classes.
    fn each_run(
        &mut self,
        layout: &Layout,
        x: &str,
        rest: &[usize],
        reduce: impl Fn(&mut Self, &str) -> String,
    ) -> String {
        let runs = layout.runs();
        if let [Run { xi: 1, .. }] = runs.as_slice() {
            return x.to_owned();
        }
        let mut reduced = Vec::new();
        for run in &runs {
            let channels = if runs.len() == 1 { x.to_owned() } else { self.slice(x, run) };
            let groups = self.integers(&[&[1, run.classes, run.xi], rest].concat());
            let groups = self.node("Reshape", "", &[&channels, &groups], Vec::new());
            reduced.push(reduce(self, &groups));
        }
        if let [one] = reduced.as_slice() {
            return one.clone();
        }
        let parts: Vec<&str> = reduced.iter().map(String::as_str).collect();
        self.node("Concat", "", &parts, vec![Attribute::int("axis", 1)])
    }

    /// The channels of one run.
    fn slice(&mut self, x: &str, run: &Run) -> String {
        let start = self.integers(&[run.first_channel]);
        let end = self.integers(&[run.first_channel + run.classes * run.xi]);
        let axis = self.integers(&[1]);
        self.node("Slice", "", &[x, &start, &end, &axis], Vec::new())
    }

    fn linear(&mut self, linear: &Linear, x: &str) -> Result<String> {
        let weight = self.parameter(&format!("{}.weight", linear.name))?;
        let bias = self.parameter(&format!("{}.bias", linear.name))?;
        let transposed = vec![Attribute::int("transB", 1)];
        Ok(self.node("Gemm", &linear.name, &[x, &weight, &bias], transposed))
    }
}

fn node(operator: &str, name: &str, inputs: &[&str], attribute: Vec<Attribute>) -> Node {
    Node {
        input: inputs.iter().map(|input| (*input).to_owned()).collect(),
        output: vec![name.to_owned()],
        name: name.to_owned(),
        op_type: operator.to_owned(),
        attribute,
    }
}

fn ints(name: &str, values: &[usize]) -> Attribute {
    Attribute::ints(name, values)
}

/// Height and width; 1 x 1 for a vector, which no layer that asks for sides takes.
fn sides(value: &Value) -> [usize; 2] {
    match value.shape {
        Shape::Maps([_, height, width]) => [height, width],
        Shape::Vector(_) => [1, 1],
    }
}
