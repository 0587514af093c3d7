//! Walks a graph in order, its functions and subgraphs in place.

use std::{
    cell::{Cell, OnceCell},
    collections::HashMap,
    sync::Arc,
};

use super::{
    super::proto::{Attribute, Function, Graph, Model, Node, OperatorSet},
    control,
    elementwise::join_fixed,
    size::{Size, product},
    sizes,
    step::{Step, Symbols},
    table,
    value::{Flow, Outcome, Refusal, Value},
};

/// Functions and subgraphs nested deeper are not followed.
const MAX_DEPTH: usize = 24;
/// The most nodes that are walked, each as often as its function or body is.
const MAX_NODES: usize = 1 << 18;

/// What is the same for a whole file.
pub(super) struct Walk<'a> {
    functions: HashMap<(&'a str, &'a str, &'a str), &'a Function>,
    symbols: Symbols,
    nodes: Cell<usize>,
}

/// The values that a node sees: those of its own graph, then those of the graphs around it.
pub(super) struct Scope<'p> {
    outside: Option<&'p Scope<'p>>,
    values: HashMap<String, Value>,
    opsets: &'p [OperatorSet],
    depth: usize,
}

impl<'p> Scope<'p> {
    pub(super) fn new(opsets: &'p [OperatorSet]) -> Self {
        Self { outside: None, values: HashMap::new(), opsets, depth: 0 }
    }

    fn inside(&'p self) -> Self {
        Self { outside: Some(self), values: HashMap::new(), opsets: self.opsets, depth: self.depth + 1 }
    }

    pub(super) fn set(&mut self, name: &str, value: Value) {
        self.values.insert(name.to_owned(), value);
    }

    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name).or_else(|| self.outside?.get(name))
    }

    fn opset(&self, domain: &str) -> i64 {
        let is_same = |other: &str| other == domain || is_default(other) && is_default(domain);
        self.opsets.iter().find(|opset| is_same(&opset.domain)).map_or(0, |opset| opset.version)
    }
}

fn is_default(domain: &str) -> bool {
    matches!(domain, "" | "ai.onnx")
}

impl<'a> Walk<'a> {
    pub(super) fn new(model: &'a Model) -> Self {
        let key = |function: &'a Function| ((&*function.domain, &*function.name, &*function.overload), function);
        let functions = model.functions.iter().map(key).collect();
        Self { functions, symbols: Symbols::default(), nodes: Cell::new(0) }
    }

    pub(super) fn fresh(&self) -> Size {
        self.symbols.fresh()
    }

    /// Walks a graph whose inputs are in `scope` already.
    pub(super) fn graph(&self, graph: &Graph, scope: &mut Scope<'_>) {
        for tensor in &graph.initializers {
            let shape = tensor.dims.iter().map(|dim| Size::known(*dim)).collect();
            scope.set(&tensor.name, Value { elements: sizes::tensor_elements(tensor), ..Value::fixed(shape) });
        }
        for sparse in &graph.sparse_initializers {
            let shape = sparse.dims.iter().map(|dim| Size::known(*dim)).collect();
            if let Some(values) = &sparse.values {
                scope.set(&values.name, Value::fixed(shape));
            }
        }
        graph.nodes.iter().for_each(|node| self.node(node, scope));
    }

    fn node(&self, node: &Node, scope: &mut Scope<'_>) {
        self.nodes.set(self.nodes.get() + 1);
        let place: OnceCell<Arc<str>> = OnceCell::new();
        let place = || Arc::clone(place.get_or_init(|| describe(node).into()));
        let outcome = match self.nodes.get() > MAX_NODES || scope.depth > MAX_DEPTH {
            true => Err(Refusal::Unknown),
            false => self.outputs(node, scope),
        };
        let outputs = outcome.unwrap_or_else(|refusal| {
            let flow = match refusal {
                Refusal::Mixed => Flow::Mixed(place()),
                Refusal::Unknown => Flow::Unknown(place()),
            };
            vec![Value::opaque(flow); node.outputs.len()]
        });
        for (index, name) in node.outputs.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
            let value = outputs.get(index).cloned();
            scope.set(name, value.unwrap_or_else(|| Value::opaque(Flow::Unknown(place()))));
        }
    }

    fn outputs(&self, node: &Node, scope: &Scope<'_>) -> Outcome<Vec<Value>> {
        let find = |name: &String| match name.is_empty() {
            true => Ok(None),
            false => scope.get(name).map(Some).ok_or(Refusal::Unknown),
        };
        let inputs = node.inputs.iter().map(find).collect::<Outcome<Vec<_>>>()?;
        let broken = |wanted: fn(&Flow) -> bool| inputs.iter().flatten().find(|value| wanted(&value.flow));
        let mixed = broken(|flow| matches!(flow, Flow::Mixed(_)));
        if let Some(value) = mixed.or_else(|| broken(|flow| matches!(flow, Flow::Unknown(_)))) {
            return Ok(vec![Value::opaque(value.flow.clone()); node.outputs.len()]);
        }
        if let Some(function) = self.functions.get(&(&*node.domain, &*node.op_type, &*node.overload)) {
            return Ok(self.call(function, node, &inputs, scope));
        }
        let step = Step { node, opset: scope.opset(&node.domain), inputs, symbols: &self.symbols };
        let is_onnx = is_default(&node.domain);
        match &*node.op_type {
            "Constant" if is_onnx => constant(node).map(|value| vec![value]).ok_or(Refusal::Unknown),
            operator if is_onnx && control::is_control(operator) => {
                control::control(&step, &|graph, inputs| self.body(graph, inputs, scope))
            }
            operator if table::is_random(&node.domain, operator) => Err(Refusal::Unknown),
            operator => {
                let rule = table::rule(&node.domain, operator, step.opset).ok_or(Refusal::Unknown)?;
                apply(&step, rule, is_onnx)
            }
        }
    }

    /// Walks the body of a function with the call's inputs and attributes.
    fn call(&self, function: &Function, node: &Node, inputs: &[Option<&Value>], scope: &Scope<'_>) -> Vec<Value> {
        let mut inner = Scope { depth: scope.depth + 1, ..Scope::new(&function.opsets) };
        for (name, value) in function.inputs.iter().zip(inputs) {
            value.iter().for_each(|value| inner.set(name, (*value).clone()));
        }
        let given = |name: &str| {
            let defaults = || function.attribute_defaults.iter().find(|attribute| attribute.name == name);
            node.attributes.iter().find(|attribute| attribute.name == name).or_else(defaults)
        };
        // A node's input that the call leaves out is left out there too.
        let absent: Vec<_> = function.inputs.iter().filter(|name| inner.get(name).is_none()).collect();
        for body_node in &function.nodes {
            let mut bound = bind(body_node, &given);
            bound.inputs.iter_mut().filter(|name| absent.contains(&&**name)).for_each(String::clear);
            self.node(&bound, &mut inner);
        }
        function.outputs.iter().map(|name| outcome_of(&inner, name, node)).collect()
    }

    fn body(&self, graph: &Graph, inputs: Vec<Value>, scope: &Scope<'_>) -> Vec<Value> {
        let mut inner = scope.inside();
        for (declared, value) in graph.inputs.iter().zip(inputs) {
            inner.set(&declared.name, value);
        }
        self.graph(graph, &mut inner);
        let missing = Node { op_type: "Subgraph".to_owned(), ..Node::default() };
        graph.outputs.iter().map(|output| outcome_of(&inner, &output.name, &missing)).collect()
    }
}

fn outcome_of(scope: &Scope<'_>, name: &str, node: &Node) -> Value {
    scope.get(name).cloned().unwrap_or_else(|| Value::opaque(Flow::Unknown(describe(node).into())))
}

/// Writes an operator and its node's name, else its first output's: ``Softmax `attention` ``.
fn describe(node: &Node) -> String {
    let domain = match &*node.domain {
        "" | "ai.onnx" | "ai.onnx.ml" => String::new(),
        domain => format!("{domain}."),
    };
    let name = if node.name.is_empty() { node.outputs.first() } else { Some(&node.name) };
    let name = name.map(|name| format!(" `{name}`")).unwrap_or_default();
    format!("{domain}{}{name}", node.op_type).escape_debug().to_string()
}

/// Applies a rule, and keeps what depends on no row apart from it.
fn apply(step: &Step<'_>, rule: table::Rule, is_onnx: bool) -> Outcome<Vec<Value>> {
    let padded = step.present().find(|value| value.padding.is_some());
    let outcome = rule(step);
    if let Some(padded) = padded {
        return keep_padding(step, padded, outcome?);
    }
    if step.present().any(Value::is_rows) {
        return outcome;
    }
    let flow = join_fixed(step.present());
    let count = step.node.outputs.len();
    let mut values = outcome.unwrap_or_else(|_| vec![Value::opaque(flow.clone()); count]);
    for (index, value) in values.iter_mut().enumerate().filter(|(_, value)| !value.is_rows()) {
        if index == 0 && value.elements.is_none() && is_onnx {
            value.elements = sizes::elements(step, value.shape.as_deref());
        }
        let has_rows = value.shape.iter().flatten().any(Size::has_rows);
        let shape = value.shape.take();
        *value = match (value.elements.take(), shape) {
            (Some(elements), Some(shape)) if !has_rows => Value::of_elements(shape, elements, flow.clone()),
            (_, shape) if has_rows => Value { shape, ..Value::opaque(Flow::Count) },
            (_, shape) => Value { shape, ..Value::opaque(flow.clone()) },
        };
    }
    Ok(values)
}

/// Filling at the end of each row stays at the end only where rows are nothing but their last axis.
fn keep_padding(step: &Step<'_>, padded: &Value, mut values: Vec<Value>) -> Outcome<Vec<Value>> {
    let is_flat = |value: &Value| {
        let sizes = value.shape.as_deref().unwrap_or_default();
        let between = sizes.get(1..sizes.len().saturating_sub(1)).unwrap_or_default();
        value.row_axis().is_some_and(|rows| rows.axis == 0 && rows.is_whole())
            && sizes.len() >= 2
            && product(between).is_some_and(|size| size.is(1))
    };
    match &*step.node.op_type {
        "TfIdfVectorizer" if is_flat(padded) => Ok(values),
        "Flatten" | "Reshape" | "Squeeze" | "Identity" if is_flat(padded) && values.iter().all(is_flat) => {
            values.iter_mut().for_each(|value| value.padding.clone_from(&padded.padding));
            Ok(values)
        }
        _ => Err(Refusal::Mixed),
    }
}

/// Replaces attributes that stand for those of the call, in subgraphs too.
fn bind<'a>(node: &Node, given: &dyn Fn(&str) -> Option<&'a Attribute>) -> Node {
    let resolve = |attribute: &Attribute| {
        if !attribute.ref_attr_name.is_empty() {
            return given(&attribute.ref_attr_name)
                .map(|value| Attribute { name: attribute.name.clone(), ..value.clone() });
        }
        let mut attribute = attribute.clone();
        for graph in attribute.graph.iter_mut().chain(&mut attribute.graphs) {
            graph.nodes = graph.nodes.iter().map(|node| bind(node, given)).collect();
        }
        Some(attribute)
    };
    Node { attributes: node.attributes.iter().filter_map(resolve).collect(), ..node.clone() }
}

fn constant(node: &Node) -> Option<Value> {
    let attribute = node.attributes.first()?;
    let known = |values: &[i64], shape: Vec<Size>| {
        let elements = values.iter().map(|value| Some(Size::known(*value))).collect();
        Value { elements: (values.len() <= sizes::MAX_ELEMENTS).then_some(elements), ..Value::fixed(shape) }
    };
    let list = |count: usize| i64::try_from(count).ok().map(|count| vec![Size::known(count)]);
    Some(match &*attribute.name {
        "value" => {
            let tensor = attribute.tensor.as_ref()?;
            let shape = tensor.dims.iter().map(|dim| Size::known(*dim)).collect();
            Value { elements: sizes::tensor_elements(tensor), ..Value::fixed(shape) }
        }
        "value_int" => known(&[attribute.integer], Vec::new()),
        "value_ints" => known(&attribute.integers, list(attribute.integers.len())?),
        "value_float" | "value_string" => Value::fixed(Vec::new()),
        "value_floats" => Value::fixed(list(attribute.floats.len())?),
        "value_strings" => Value::fixed(list(attribute.strings.len())?),
        _ => Value::opaque(Flow::Fixed),
    })
}
