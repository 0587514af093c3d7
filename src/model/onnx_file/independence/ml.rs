//! `ai.onnx.ml`: operators on rows of features, `[N, F]`.

use super::{
    super::proto::Attribute,
    elementwise::elementwise,
    size::{Size, product},
    step::Step,
    value::{Flow, Outcome, Refusal, RowAxis, Value},
};

/// Trees, linear models and support vector machines. One axis alone is one row of features, not rows of one.
///
/// Classifiers give `[N]` labels and `[N, …]` scores, the others `[N, …]`.
pub(super) fn predictor(step: &Step<'_>) -> Outcome<Vec<Value>> {
    let (x, shape) = features(step)?;
    let width = match &*step.node.op_type {
        "TreeEnsembleClassifier" => ["classlabels_int64s", "classlabels_strings"]
            .into_iter()
            .filter_map(|name| step.attribute(name))
            .map(|labels| labels.integers.len() + labels.strings.len())
            .find(|count| *count > 1)
            .and_then(|count| i64::try_from(count).ok()),
        "TreeEnsembleRegressor" => step.attribute("n_targets").map(|targets| targets.integer),
        "LinearRegressor" => Some(step.integer("targets", 1)),
        "SVMRegressor" => Some(1),
        _ => None,
    };
    let width = width.filter(|width| *width > 0).map_or_else(|| step.fresh(), Size::known);
    let scores = x.with_shape(vec![shape[0].clone(), width]);
    match step.node.op_type.ends_with("Classifier") {
        true => Ok(vec![x.with_shape(vec![shape[0].clone()]), scores]),
        false => Ok(vec![scores]),
    }
}

/// Scaler, Imputer, Normalizer: `[N, F]` as it was, with one number for each feature.
pub(super) fn by_feature(step: &Step<'_>) -> Outcome<Vec<Value>> {
    let (x, shape) = features(step)?;
    Ok(vec![x.with_shape(shape.to_vec())])
}

/// ZipMap: a map for each row, which becomes a row of a tensor again.
pub(super) fn zip_map(step: &Step<'_>) -> Outcome<Vec<Value>> {
    by_feature(step)
}

/// OneHotEncoder: a new last axis of categories.
pub(super) fn one_hot_encoder(step: &Step<'_>) -> Outcome<Vec<Value>> {
    let x = step.input(0)?;
    let mut shape = x.shape()?.to_vec();
    let count = |attribute: &Attribute| attribute.integers.len() + attribute.strings.len();
    let categories: usize =
        ["cats_int64s", "cats_strings"].iter().map(|name| step.attribute(name).map_or(0, count)).sum();
    let categories = i64::try_from(categories).map_err(|_| Refusal::Unknown)?;
    shape.push(Size::known(categories));
    Ok(vec![x.with_shape(shape)])
}

/// FeatureVectorizer: puts columns beside each other.
pub(super) fn feature_vectorizer(step: &Step<'_>) -> Outcome<Vec<Value>> {
    let (x, shape) = features(step)?;
    for part in step.present() {
        if part.flow != x.flow || part.rank()? != 2 {
            return Err(Refusal::Mixed);
        }
    }
    Ok(vec![x.with_shape(vec![shape[0].clone(), step.fresh()])])
}

/// ArrayFeatureExtractor: picks from the last axis of `X` by all of `Y`, in order.
pub(super) fn array_feature_extractor(step: &Step<'_>) -> Outcome<Vec<Value>> {
    let (x, y) = (step.input(0)?, step.input(1)?);
    let (shape, picked) = (x.shape()?, y.shape()?);
    let count = product(picked).ok_or(Refusal::Unknown)?;
    match (x.row_axis(), y.row_axis()) {
        (Some(rows), None) if y.flow == Flow::Fixed && rows.axis + 1 < shape.len() => {
            Ok(vec![x.with_shape([&shape[..shape.len() - 1], &[count]].concat())])
        }
        // A table `[C]` or `[T, C]` gives `[1, M]` or `[T, M]`.
        (None, Some(rows)) if x.flow == Flow::Fixed && !shape.is_empty() => {
            let outer = product(&picked[..rows.axis]).and_then(|before| before.times(&rows.outer));
            let inner = product(&picked[rows.axis + 1..]).and_then(|after| after.times(&rows.inner));
            let mut table = if shape.len() == 1 { vec![Size::known(1)] } else { shape[..shape.len() - 1].to_vec() };
            let rows = outer.zip(inner).map(|(outer, inner)| RowAxis { axis: table.len(), outer, inner });
            table.push(count);
            Ok(vec![Value::rows(rows.ok_or(Refusal::Unknown)?, table)])
        }
        (None, None) => Err(Refusal::Unknown),
        _ => Err(Refusal::Mixed),
    }
}

/// Tokenizer: fills rows up to the longest in the batch. Only what ignores the filling may follow.
pub(super) fn tokenizer(step: &Step<'_>) -> Outcome<Vec<Value>> {
    let x = step.input(0)?;
    let mut shape = x.shape()?.to_vec();
    shape.push(step.fresh());
    let mut tokens = x.with_shape(shape);
    // Its own marks for start and end of a text follow the last token, before the filling.
    tokens.padding = Some(step.text("pad_value").into());
    Ok(vec![tokens])
}

/// TfIdfVectorizer: counts n-grams of each row of `[N, C]`; of one axis alone, of all.
pub(super) fn tf_idf_vectorizer(step: &Step<'_>) -> Outcome<Vec<Value>> {
    let (x, shape) = features(step)?;
    if let Some(padding) = &x.padding {
        let pool = step.attribute("pool_strings").ok_or(Refusal::Mixed)?;
        if pool.strings.iter().any(|entry| **entry == **padding) {
            return Err(Refusal::Mixed);
        }
    }
    Ok(vec![x.with_shape(vec![shape[0].clone(), step.fresh()])])
}

/// StringNormalizer takes `[C]` or `[1, C]`, and drops stopwords from it; without any, it changes each text by itself.
pub(super) fn string_normalizer(step: &Step<'_>) -> Outcome<Vec<Value>> {
    let has_stopwords = step.attribute("stopwords").is_some_and(|stopwords| !stopwords.strings.is_empty());
    let (x, rows) = step.rows(0)?;
    let is_list = rows.axis + 1 == x.rank()?;
    if has_stopwords || !is_list {
        return Err(Refusal::Mixed);
    }
    elementwise(step)
}

/// Returns a first input `[N, F]` whose rows are its first axis.
fn features<'a>(step: &Step<'a>) -> Outcome<(&'a Value, &'a [Size])> {
    let (x, rows) = step.rows(0)?;
    let shape = x.shape()?;
    (rows.axis == 0 && shape.len() == 2).then_some((x, shape)).ok_or(Refusal::Mixed)
}
