//! Sizes as monomials: `3`, `N`, `N·S·64`.

/// Monomials of more symbols are not kept.
const MAX_SYMBOLS: usize = 16;

/// A number of elements: a coefficient times symbols, and times the number of rows where `rows` is set.
///
/// A symbol is the size of some axis, so it is an integer that is not negative. It is the same in all runs that are
/// compared; only the number of rows differs between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Size {
    coefficient: i64,
    rows: bool,
    symbols: Vec<u32>,
}

impl Size {
    pub(super) const fn known(value: i64) -> Self {
        Self { coefficient: value, rows: false, symbols: Vec::new() }
    }

    /// Returns N, the number of rows.
    pub(super) const fn rows() -> Self {
        Self { coefficient: 1, rows: true, symbols: Vec::new() }
    }

    pub(super) fn symbol(symbol: u32) -> Self {
        Self { coefficient: 1, rows: false, symbols: vec![symbol] }
    }

    pub(super) fn has_rows(&self) -> bool {
        self.rows
    }

    /// Returns the number, where neither N nor a symbol is in it.
    pub(super) fn value(&self) -> Option<i64> {
        (!self.rows && self.symbols.is_empty()).then_some(self.coefficient)
    }

    pub(super) fn is(&self, value: i64) -> bool {
        self.value() == Some(value)
    }

    /// Returns the product; `None` where it is no monomial of N, or too large.
    pub(super) fn times(&self, other: &Self) -> Option<Self> {
        let coefficient = self.coefficient.checked_mul(other.coefficient)?;
        if coefficient == 0 {
            return Some(Self::known(0));
        }
        if self.rows && other.rows || self.symbols.len() + other.symbols.len() > MAX_SYMBOLS {
            return None;
        }
        let mut symbols = [&self.symbols[..], &other.symbols].concat();
        symbols.sort_unstable();
        Self { coefficient, rows: self.rows || other.rows, symbols }.unless_negative()
    }

    /// Returns the quotient; `None` unless it is exact whatever the symbols are.
    pub(super) fn over(&self, other: &Self) -> Option<Self> {
        if other.coefficient == 0 || self.coefficient.checked_rem(other.coefficient)? != 0 || other.rows && !self.rows {
            return None;
        }
        let mut symbols = self.symbols.clone();
        for symbol in &other.symbols {
            let index = symbols.iter().position(|mine| mine == symbol)?;
            symbols.remove(index);
        }
        let coefficient = self.coefficient.checked_div(other.coefficient)?;
        Self { coefficient, rows: self.rows && !other.rows, symbols }.unless_negative()
    }

    /// No number of elements is negative; one that could be -1 would mean something else in a shape.
    fn unless_negative(self) -> Option<Self> {
        (self.coefficient >= 0 || self.value().is_some()).then_some(self)
    }

    /// Tells whether two sizes are equal; `None` where that depends on the symbols.
    pub(super) fn equals(&self, other: &Self) -> Option<bool> {
        match (self.value(), other.value()) {
            _ if self == other => Some(true),
            (Some(left), Some(right)) => Some(left == right),
            // A product of sizes is not negative.
            (Some(negative), None) | (None, Some(negative)) if negative < 0 => Some(false),
            _ => None,
        }
    }
}

/// Returns the product of sizes; 1 of none.
pub(super) fn product<'a>(sizes: impl IntoIterator<Item = &'a Size>) -> Option<Size> {
    sizes.into_iter().try_fold(Size::known(1), |product, size| product.times(size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_and_quotients_are_exact_or_absent() {
        let (rows, s) = (Size::rows(), Size::symbol(1));
        let all = product([&rows, &s, &Size::known(768)]).unwrap();
        assert_eq!(all.over(&product([&s, &Size::known(64)]).unwrap()), rows.times(&Size::known(12)));
        assert_eq!(all.over(&Size::known(5)), None);
        assert_eq!(all.over(&Size::symbol(2)), None);
        assert_eq!(s.over(&rows), None);
        assert_eq!(rows.times(&rows), None);
        assert_eq!(all.times(&Size::known(0)), Some(Size::known(0)));
        assert_eq!(Size::known(i64::MIN).over(&Size::known(-1)), None);
    }

    #[test]
    fn equality_is_known_or_open() {
        let s = Size::symbol(1);
        assert_eq!(s.equals(&s), Some(true));
        assert_eq!(s.equals(&Size::known(-1)), Some(false));
        assert_eq!(s.equals(&Size::known(3)), None);
        assert_eq!(Size::known(3).equals(&Size::known(4)), Some(false));
    }
}
