//! Operators on images and signals: `[N, C, …]`, each row by itself.

use super::{
    size::Size,
    step::{Step, axes_of, axis_of},
    value::{Flow, Outcome, Refusal, RowAxis, Value},
};

/// A window that slides over one axis.
struct Window {
    kernel: Option<i64>,
    stride: i64,
    dilation: i64,
    padding: Option<i64>,
}

/// Conv: the first input's rows on axis 0, everything else fixed.
pub(super) fn convolution(step: &Step<'_>) -> Outcome<Vec<Value>> {
    convolved(step, 1)
}

/// QLinearConv, whose weights are its fourth input.
pub(super) fn qlinear_convolution(step: &Step<'_>) -> Outcome<Vec<Value>> {
    convolved(step, 3)
}

fn convolved(step: &Step<'_>, weight: usize) -> Outcome<Vec<Value>> {
    let (x, shape) = images(step)?;
    step.require_fixed(1..step.inputs.len())?;
    let weight_shape = step.input(weight)?.shape.as_deref();
    let kernel: Option<Vec<Option<i64>>> = match step.integers("kernel_shape") {
        Some(kernel) => Some(kernel.iter().map(|size| Some(*size)).collect()),
        None => weight_shape.map(|shape| shape.iter().skip(2).map(Size::value).collect()),
    };
    let channels = weight_shape.and_then(|shape| shape.first().cloned()).unwrap_or_else(|| step.fresh());
    slid(step, x, shape, Some(channels), kernel.as_deref())
}

/// ConvTranspose and DeformConv: rows stay, the size of the result is left open.
pub(super) fn open_convolution(step: &Step<'_>) -> Outcome<Vec<Value>> {
    let (x, shape) = images(step)?;
    step.require_fixed(1..step.inputs.len())?;
    Ok(vec![open_beyond(step, x, shape, 1)])
}

/// DeformConv: offsets and mask are rows like the images.
pub(super) fn deform_convolution(step: &Step<'_>) -> Outcome<Vec<Value>> {
    let (x, shape) = images(step)?;
    step.require_fixed([1, 3])?;
    for companion in [2, 4].into_iter().filter_map(|index| step.optional(index)) {
        require_same_rows(x, companion)?;
    }
    Ok(vec![open_beyond(step, x, shape, 1)])
}

/// MaxPool, AveragePool, LpPool. The second output of MaxPool counts places over the whole batch.
pub(super) fn pool(step: &Step<'_>) -> Outcome<Vec<Value>> {
    if step.has_output(1) {
        return Err(Refusal::Mixed);
    }
    let (x, shape) = images(step)?;
    step.require_fixed(1..step.inputs.len())?;
    let kernel: Option<Vec<_>> =
        step.integers("kernel_shape").map(|kernel| kernel.iter().map(|size| Some(*size)).collect());
    slid(step, x, shape, None, kernel.as_deref())
}

/// GlobalAveragePool and its like: every axis from 2 on becomes 1.
pub(super) fn global_pool(step: &Step<'_>) -> Outcome<Vec<Value>> {
    let (x, shape) = images(step)?;
    step.require_fixed(1..step.inputs.len())?;
    let mut pooled = shape[..2].to_vec();
    pooled.resize(shape.len(), Size::known(1));
    Ok(vec![x.with_shape(pooled)])
}

/// BatchNormalization outside of training, InstanceNormalization, GroupNormalization, LRN: the shape as it was.
pub(super) fn normalize(step: &Step<'_>) -> Outcome<Vec<Value>> {
    let in_training = step.node.op_type == "BatchNormalization"
        && (step.integer("training_mode", 0) != 0 || (1..step.node.outputs.len()).any(|index| step.has_output(index)));
    if in_training {
        return Err(Refusal::Mixed);
    }
    let (x, rows) = step.rows(0)?;
    step.require_fixed(1..step.inputs.len())?;
    let shape = x.shape()?;
    (rows.axis == 0 && shape.len() >= 2).then(|| vec![x.with_shape(shape.to_vec())]).ok_or(Refusal::Mixed)
}

/// Resize and Upsample: the rows' axis is not scaled.
pub(super) fn resize(step: &Step<'_>) -> Outcome<Vec<Value>> {
    let (x, rows) = step.rows(0)?;
    let shape = x.shape()?;
    if step.text("coordinate_transformation_mode") == b"tf_crop_and_resize" {
        return Err(Refusal::Unknown);
    }
    let axes = match step.integers("axes") {
        Some(axes) => axes_of(axes, shape.len())?,
        None => (0..shape.len()).collect(),
    };
    let upsamples = step.node.op_type == "Upsample";
    let (scales, sizes) = match (upsamples, step.opset < 11) {
        (true, _) | (false, true) => (step.optional(1), None),
        (false, false) => (step.optional(2), step.optional(3)),
    };
    // An input that is there may be empty, which is as if it were not.
    let is_given = |value: &&Value| value.shape.as_ref().is_none_or(|shape| !shape.iter().any(|size| size.is(0)));
    let (wanted, unscaled) = match (scales.filter(is_given), sizes.filter(is_given)) {
        (Some(scales), None) => (scales, Size::known(1)),
        (None, Some(sizes)) => (sizes, shape[rows.axis].clone()),
        _ => return Err(Refusal::Unknown),
    };
    if wanted.is_rows() {
        return Err(Refusal::Mixed);
    }
    let is_size = unscaled != Size::known(1);
    let elements = wanted.elements.as_ref().ok_or(Refusal::Unknown)?;
    let mut resized = shape.to_vec();
    for (place, axis) in axes.iter().enumerate() {
        let element = elements.get(place).ok_or(Refusal::Unknown)?;
        if *axis == rows.axis {
            match element {
                Some(element) if *element == unscaled => {}
                Some(_) => return Err(Refusal::Mixed),
                None => return Err(Refusal::Unknown),
            }
            continue;
        }
        // A size that counts rows is another for a larger batch.
        if element.as_ref().map_or(wanted.flow != Flow::Fixed, Size::has_rows) {
            return Err(Refusal::Mixed);
        }
        let scaled = |factor: &Size| shape[*axis].times(factor);
        let size = element.as_ref().and_then(|element| if is_size { Some(element.clone()) } else { scaled(element) });
        // `keep_aspect_ratio_policy` makes other sizes of those that are asked for.
        let keeps_ratio = !matches!(step.text("keep_aspect_ratio_policy"), b"" | b"stretch");
        resized[*axis] = size.filter(|_| !keeps_ratio).unwrap_or_else(|| step.fresh());
    }
    let keeps_ratio = !matches!(step.text("keep_aspect_ratio_policy"), b"" | b"stretch");
    match keeps_ratio && axes.contains(&rows.axis) {
        true => Err(Refusal::Unknown),
        false => Ok(vec![x.with_shape(resized)]),
    }
}

pub(super) fn blocks(step: &Step<'_>) -> Outcome<Vec<Value>> {
    let (x, shape) = images(step)?;
    Ok(vec![open_beyond(step, x, shape, 1)])
}

/// GridSample: images and the grid are rows.
pub(super) fn grid_sample(step: &Step<'_>) -> Outcome<Vec<Value>> {
    let (x, shape) = images(step)?;
    require_same_rows(x, step.input(1)?)?;
    Ok(vec![open_beyond(step, x, shape, 2)])
}

/// Col2Im: everything but the columns is fixed.
pub(super) fn col2im(step: &Step<'_>) -> Outcome<Vec<Value>> {
    let (x, shape) = images(step)?;
    step.require_fixed([1, 2])?;
    let spatial = step.input(1)?.elements.as_ref().map(Vec::len).ok_or(Refusal::Unknown)?;
    let mut out = vec![shape[0].clone()];
    out.resize_with(2 + spatial, || step.fresh());
    Ok(vec![x.with_shape(out)])
}

/// STFT and DFT: along one axis of a signal.
pub(super) fn fourier(step: &Step<'_>) -> Outcome<Vec<Value>> {
    let (x, rows) = step.rows(0)?;
    step.require_fixed(1..step.inputs.len())?;
    let rank = x.rank()?;
    let last = rank.checked_sub(1).ok_or(Refusal::Unknown)?;
    if step.node.op_type == "STFT" {
        let mut shape = vec![x.shape()?[0].clone()];
        shape.resize_with(4, || step.fresh());
        return (rows.axis == 0).then(|| vec![x.with_shape(shape)]).ok_or(Refusal::Mixed);
    }
    let axis = match step.optional(2) {
        Some(axis) => axis.integer().ok_or(Refusal::Unknown)?,
        None => step.integer("axis", if step.opset < 20 { 1 } else { -2 }),
    };
    let axis = axis_of(axis, rank)?;
    if rows.axis == axis || rows.axis == last {
        return Err(Refusal::Mixed);
    }
    let mut shape = x.shape()?.to_vec();
    shape[axis] = step.fresh();
    shape[last] = step.fresh();
    Ok(vec![x.with_shape(shape)])
}

fn images<'a>(step: &Step<'a>) -> Outcome<(&'a Value, &'a [Size])> {
    let (x, rows) = step.rows(0)?;
    let shape = x.shape()?;
    (rows.axis == 0 && shape.len() >= 3).then_some((x, shape)).ok_or(Refusal::Mixed)
}

fn require_same_rows(x: &Value, other: &Value) -> Outcome<()> {
    let rows = |value: &Value| value.row_axis().cloned();
    (rows(x) == rows(other)).then_some(()).ok_or(Refusal::Mixed)
}

/// Keeps the first axes, and leaves the sizes of the others open.
fn open_beyond(step: &Step<'_>, x: &Value, shape: &[Size], kept: usize) -> Value {
    let mut open = shape[..kept].to_vec();
    open.resize_with(shape.len(), || step.fresh());
    x.with_shape(open)
}

fn slid(
    step: &Step<'_>,
    x: &Value,
    shape: &[Size],
    channels: Option<Size>,
    kernel: Option<&[Option<i64>]>,
) -> Outcome<Vec<Value>> {
    let mut out = vec![shape[0].clone(), channels.unwrap_or_else(|| shape[1].clone())];
    let spatial = shape.len() - 2;
    let of = |name: &str, index: usize, default: i64| {
        step.integers(name).map_or(Some(default), |values| values.get(index).copied()).unwrap_or(default)
    };
    let auto_pad = step.text("auto_pad");
    for (index, size) in shape[2..].iter().enumerate() {
        let window = Window {
            kernel: kernel.and_then(|kernel| kernel.get(index).copied().flatten()),
            stride: of("strides", index, 1),
            dilation: of("dilations", index, 1),
            padding: match auto_pad {
                b"" | b"NOTSET" => of("pads", index, 0).checked_add(of("pads", index + spatial, 0)),
                b"VALID" => Some(0),
                _ => None,
            },
        };
        let is_plain = step.integer("ceil_mode", 0) == 0;
        let slid = size.value().filter(|_| is_plain).and_then(|size| window.places(size));
        out.push(slid.map_or_else(|| step.fresh(), Size::known));
    }
    let rows = x.row_axis().cloned().unwrap_or_else(|| RowAxis::whole(0));
    Ok(vec![Value::rows(rows, out)])
}

impl Window {
    /// Returns in how many places the window fits; `None` where a part of it is not known.
    fn places(&self, size: i64) -> Option<i64> {
        let extent = self.kernel?.checked_sub(1)?.checked_mul(self.dilation)?.checked_add(1)?;
        let room = size.checked_add(self.padding?)?.checked_sub(extent)?;
        (room >= 0 && self.stride > 0).then(|| room / self.stride + 1)
    }
}
