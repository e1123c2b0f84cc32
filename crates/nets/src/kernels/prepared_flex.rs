//! Weights in the order in which CPU kernels read them, made once: a network that is frozen is asked with the same
//! weights again and again, and for small images turning them round takes as long as multiplying with them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use burn_flex::FlexTensor;

use super::half_flex::widened;

/// Most values that are kept, 96 MiB: enough for networks whose images are small, for which it matters. What does not
/// fit is made anew each time.
const MOST_VALUES: usize = 24 << 20;

/// What weights are made into.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    /// A matrix with rows and columns exchanged.
    Transposed,
    /// For each place of a convolution's kernel, one after the other, `[in channels, out channels]`.
    Places,
    /// As [`Places`](Self::Places), of the convolution that turns gradients back.
    PlacesReversed,
    /// For each product of a [Winograd](super::conv_flex) convolution, `[in channels, out channels]`.
    Winograd,
    /// As [`Winograd`](Self::Winograd), of the convolution that turns gradients back.
    WinogradReversed,
}

/// A layer's weights, of f32, or of 16 bits that are widened when they are read.
pub(super) struct LayerWeights(FlexTensor);

impl LayerWeights {
    pub(super) fn of(tensor: FlexTensor) -> Self {
        Self(tensor)
    }

    /// All weights in their own order, as f32.
    pub(super) fn in_f32(&self) -> FlexTensor {
        widened(self.0.clone()).to_contiguous()
    }

    /// The weights as `make` makes them, or as it made them before.
    pub(super) fn prepared(
        &self,
        form: Form,
        make: impl FnOnce(&[f32]) -> Vec<f32>,
    ) -> Arc<Vec<f32>> {
        let make = || Arc::new(make(self.in_f32().storage()));
        if !self.0.is_contiguous() {
            return make(); // a view of something else, which may be gone after the operation
        }
        let layout = self.0.layout();
        let key = Key {
            memory: self.0.bytes().as_ptr().addr(),
            offset: layout.start_offset(),
            shape: layout.shape().to_vec(),
        };
        if let Some(found) = with_kept(|kept| kept.get(&key, form)) {
            return found;
        }
        let made = make();
        with_kept(|kept| kept.keep(key, &self.0, form, &made));
        made
    }
}

/// Where weights lie, and their shape.
#[derive(PartialEq, Eq, Hash)]
struct Key {
    memory: usize,
    offset: usize,
    shape: Vec<usize>,
}

/// What was made of one tensor.
struct Entry {
    /// Keeps the weights where they are, so that the key means them and nothing else. Whoever changes them in place
    /// meets this second owner, and changes a copy.
    weights: FlexTensor,
    forms: Vec<(Form, Arc<Vec<f32>>)>,
}

impl Entry {
    fn values(&self) -> usize {
        self.forms.iter().map(|(_, made)| made.len()).sum()
    }
}

#[derive(Default)]
struct Kept(HashMap<Key, Entry>);

fn with_kept<R>(work: impl FnOnce(&mut Kept) -> R) -> R {
    static KEPT: Mutex<Option<Kept>> = Mutex::new(None);

    // Entries go in whole, so a panic elsewhere leaves none half-made.
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    work(kept.get_or_insert_default())
}

impl Kept {
    fn get(&self, key: &Key, form: Form) -> Option<Arc<Vec<f32>>> {
        let forms = &self.0.get(key)?.forms;
        let (_, made) = forms.iter().find(|(known, _)| *known == form)?;
        Some(made.clone())
    }

    /// Keeps what was made, if there is room; forgets what was made of weights that nobody else has any more.
    fn keep(&mut self, key: Key, weights: &FlexTensor, form: Form, made: &Arc<Vec<f32>>) {
        self.0.retain(|_, entry| !entry.weights.is_unique());
        let values: usize = self.0.values().map(Entry::values).sum();
        if values + made.len() > MOST_VALUES {
            return;
        }
        let entry = self.0.entry(key).or_insert_with(|| Entry {
            weights: weights.clone(),
            forms: Vec::new(),
        });
        if entry.forms.iter().all(|(known, _)| *known != form) {
            entry.forms.push((form, made.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, Shape, TensorData};

    use super::*;

    fn tensor(values: &[f32]) -> FlexTensor {
        FlexTensor::from_data(TensorData::new(values.to_vec(), Shape::new([values.len()])))
    }

    fn doubled(values: &[f32]) -> Vec<f32> {
        values.iter().map(|x| 2.0 * x).collect()
    }

    #[test]
    fn weights_are_prepared_once_for_each_form() {
        let weights = tensor(&[1.0, 2.0, 3.0]);
        let of = |form, make: fn(&[f32]) -> Vec<f32>| {
            LayerWeights::of(weights.clone()).prepared(form, make)
        };
        let first = of(Form::Places, doubled);
        let again = of(Form::Places, |_| panic!("they are known"));
        assert!(Arc::ptr_eq(&first, &again));
        assert_eq!(*first, [2.0, 4.0, 6.0]);
        assert_eq!(*of(Form::Winograd, <[f32]>::to_vec), [1.0, 2.0, 3.0]);
    }

    #[test]
    fn weights_that_change_are_prepared_anew() {
        let mut weights = tensor(&[1.0; 5]);
        assert_eq!(
            *LayerWeights::of(weights.clone()).prepared(Form::Places, doubled),
            [2.0; 5]
        );
        weights.storage_mut::<f32>().fill(7.0); // in place, but for the copy that is kept
        assert_eq!(
            *LayerWeights::of(weights).prepared(Form::Places, doubled),
            [14.0; 5]
        );
    }

    #[test]
    fn what_was_made_of_weights_that_are_gone_is_forgotten() {
        let made = LayerWeights::of(tensor(&[1.0; 9])).prepared(Form::Places, doubled);
        LayerWeights::of(tensor(&[1.0; 9])).prepared(Form::Transposed, doubled); // sweeps
        // Tests beside this one may have swept in between, never less.
        assert_eq!(Arc::strong_count(&made), 1);
    }

    #[test]
    fn weights_of_16_bits_are_kept_as_well_and_views_are_not() {
        let narrow = super::super::half_flex::narrowed(tensor(&[1.0; 7]), DType::BF16);
        let made = LayerWeights::of(narrow.clone()).prepared(Form::Places, doubled);
        let again = LayerWeights::of(narrow).prepared(Form::Places, doubled);
        assert!(Arc::ptr_eq(&made, &again));
        let view = FlexTensor::from_data(TensorData::new(vec![1.0_f32; 6], Shape::new([2, 3])));
        let made = LayerWeights::of(view.transpose(0, 1)).prepared(Form::Places, doubled);
        assert_eq!((Arc::strong_count(&made), made[0]), (1, 2.0));
    }

    #[test]
    fn parts_of_one_tensor_are_told_apart() {
        let both = FlexTensor::from_data(TensorData::new(
            vec![1.0_f32, 2.0, 3.0, 4.0],
            Shape::new([2, 2]),
        ));
        let row =
            |index| LayerWeights::of(both.narrow(0, index, 1)).prepared(Form::Places, doubled);
        assert_eq!((*row(0)).clone(), [2.0, 4.0]);
        assert_eq!((*row(1)).clone(), [6.0, 8.0]);
    }
}
