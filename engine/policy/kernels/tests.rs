//! Kernels as a policy calls them: through handles, with room charged and given back.

use wasmtime::component::Resource;

use crate::policy::LimitsConfig;
use crate::policy::bindings::cellm::policy::algebra::Host as Algebra;
use crate::policy::bindings::cellm::policy::host::{Host, HostCodes, HostIndexSet, HostVector};
use crate::policy::error::Refusal;
use crate::policy::resources::Codes;
use crate::policy::resources::IndexSet;
use crate::policy::resources::Vector;
use crate::policy::state::State;

const MIB: usize = 1 << 20;

/// A state with so much memory and everything else by default.
fn state(memory_mb: u32) -> State {
    State::new(&LimitsConfig { memory_mb, ..LimitsConfig::default() })
}

fn lent<T: 'static>(held: &Resource<T>) -> Resource<T> {
    Resource::new_borrow(held.rep())
}

fn vector(state: &mut State, values: &[f32]) -> Resource<Vector> {
    let made = HostVector::new(state, values.len() as u32).unwrap();
    state.write(lent(&made), 0, values.into()).unwrap();
    made
}

fn read(state: &mut State, vector: &Resource<Vector>) -> Vec<f32> {
    let len = HostVector::len(state, lent(vector)).unwrap();
    HostVector::read(state, lent(vector), 0, len).unwrap()
}

fn indices(state: &mut State, set: &Resource<IndexSet>) -> Vec<u32> {
    let count = HostIndexSet::count(state, lent(set)).unwrap();
    HostIndexSet::read(state, lent(set), 0, count).unwrap()
}

fn misuse<T>(result: wasmtime::Result<T>) -> String {
    let Err(error) = result else { panic!("it went well") };
    error.downcast_ref::<Refusal>().unwrap().to_string()
}

#[test]
fn a_vector_may_be_its_own_other_side_and_copies_are_apart() {
    let mut state = state(64);
    let one = vector(&mut state, &[0.0, 3.0, -4.0, 0.0]);
    let two = state.copy(lent(&one)).unwrap();
    state.axpy(lent(&two), 2.0, lent(&one)).unwrap();
    state.axpy(lent(&two), 1.0, lent(&two)).unwrap();
    state.scale(lent(&two), 0.5).unwrap();
    assert_eq!(read(&mut state, &one), [0.0, 3.0, -4.0, 0.0]);
    assert_eq!(read(&mut state, &two), [0.0, 9.0, -12.0, 0.0]);
    state.multiply(lent(&two), lent(&two)).unwrap();
    state.divide(lent(&two), lent(&one)).unwrap();
    assert_eq!(read(&mut state, &two), [0.0, 27.0, -36.0, 0.0]);
    state.absolute(lent(&two)).unwrap();
    state.count_nonzero(lent(&two), lent(&one)).unwrap();
    state.paste(lent(&two), 0, lent(&two)).unwrap();
    assert_eq!(read(&mut state, &two), [0.0, 28.0, 37.0, 0.0]);
    assert_eq!(state.norm(lent(&one)).unwrap(), 5.0);
    assert_eq!(state.sum(lent(&one)).unwrap(), -1.0);
    assert_eq!(state.dot(lent(&one), lent(&two)).unwrap(), 84.0 - 148.0);
    assert_eq!(state.distance(lent(&one), lent(&one)).unwrap(), 0.0);
    assert_eq!(state.max_abs(lent(&one)).unwrap(), 4.0);
    let piece = state.slice(lent(&one), 1, 2).unwrap();
    assert_eq!(read(&mut state, &piece), [3.0, -4.0]);
}

#[test]
fn chosen_coordinates_go_round() {
    let mut state = state(64);
    let one = vector(&mut state, &[0.0, 3.0, -4.0, 1.0, 0.0, 2.0]);
    let largest = state.top_k(lent(&one), 0, 6, 2).unwrap();
    assert_eq!(indices(&mut state, &largest), [1, 2]);
    let chunked = state.top_k_chunked(lent(&one), 0, 6, 4, 2).unwrap();
    assert_eq!(indices(&mut state, &chunked), [1, 2, 5]);
    let nonzero = state.nonzero(lent(&one)).unwrap();
    assert_eq!(indices(&mut state, &nonzero), [1, 2, 3, 5]);
    let gathered = state.gather(lent(&one), lent(&largest)).unwrap();
    assert_eq!(read(&mut state, &gathered), [3.0, -4.0]);
    state.scatter_add(lent(&one), lent(&largest), lent(&gathered)).unwrap();
    state.keep(lent(&one), lent(&largest)).unwrap();
    assert_eq!(read(&mut state, &one), [0.0, 6.0, -8.0, 0.0, 0.0, 0.0]);
    state.scatter(lent(&one), lent(&largest), lent(&gathered)).unwrap();
    assert_eq!(read(&mut state, &one)[1..3], [3.0, -4.0]);
    let runs = HostIndexSet::runs(&mut state, 6, 0, 1, 3, 2).unwrap();
    assert_eq!(indices(&mut state, &runs), [0, 3]);
    let none = HostIndexSet::runs(&mut state, 6, 99, 0, 0, u32::MAX).unwrap();
    assert_eq!(indices(&mut state, &none), [0_u32; 0]);
    let both = state.union(lent(&runs), lent(&nonzero)).unwrap();
    assert_eq!(indices(&mut state, &both), [0, 1, 2, 3, 5]);
    let common = state.intersection(lent(&runs), lent(&nonzero)).unwrap();
    assert_eq!(indices(&mut state, &common), [3]);
    let rest = state.complement(lent(&both)).unwrap();
    assert_eq!((indices(&mut state, &rest), HostIndexSet::space(&mut state, lent(&rest)).unwrap()), (vec![4], 6));
}

#[test]
fn codes_come_from_levels_and_give_them_back() {
    let mut state = state(64);
    let one = vector(&mut state, &[-1.0, 0.2, 0.9, f32::NAN]);
    let levels = vec![-1.0, 0.0, 1.0];
    let codes = state.quantize(lent(&one), levels.clone()).unwrap();
    assert_eq!(HostCodes::bits(&mut state, lent(&codes)).unwrap(), 2);
    assert_eq!(HostCodes::read(&mut state, lent(&codes), 0, 4).unwrap(), [0, 1, 2, 0]);
    let back = state.dequantize(lent(&codes), levels.clone()).unwrap().unwrap();
    assert_eq!(read(&mut state, &back), [-1.0, 0.0, 1.0, -1.0]);
    assert_eq!(state.dequantize(lent(&codes), vec![0.0]).unwrap().unwrap_err(), "code 2 found, 1 levels given");
    let drawn: Resource<Codes> = state.quantize_stochastic(lent(&one), levels, 1, 2).unwrap();
    assert_eq!(HostCodes::count(&mut state, drawn).unwrap(), 4);
    assert_eq!(state.lloyd_levels(lent(&back), 2, 5).unwrap().len(), 2);
    state.rotate(lent(&back), 4, 1, 2).unwrap();
    state.rotate_back(lent(&back), 4, 1, 2).unwrap();
    assert_eq!(read(&mut state, &back), [-1.0, 0.0, 1.0, -1.0]);
}

#[test]
fn matrices_and_middles_through_handles() {
    let mut state = state(64);
    let one = vector(&mut state, &[1.0, 2.0, 3.0, 4.0]);
    let square = state.matmul(lent(&one), lent(&one), 2, 2, 2, false, true).unwrap();
    assert_eq!(read(&mut state, &square), [5.0, 11.0, 11.0, 25.0]);
    let found = state.svd_of_product(lent(&one), lent(&one), 2, 2, 2, 1).unwrap();
    assert!(read(&mut state, &found.values)[0] > 5.0 && read(&mut state, &found.left).len() == 2);
    let norms = state.row_norms(lent(&square), 2, 2).unwrap();
    assert_eq!(read(&mut state, &norms)[0], 146.0_f32.sqrt());
    let norms = state.column_norms(lent(&square), 2, 2).unwrap();
    state.scale_rows(lent(&one), 2, lent(&norms)).unwrap();
    state.scale_columns(lent(&one), 2, lent(&norms)).unwrap();
    let other = vector(&mut state, &[0.0; 4]);
    let of = || vec![lent(&one), lent(&other), lent(&square)];
    let middle = state.median(of()).unwrap();
    assert_eq!(read(&mut state, &middle)[0], 5.0);
    let middle_too = state.trimmed_mean(of(), 1).unwrap();
    assert_eq!(read(&mut state, &middle), read(&mut state, &middle_too));
}

#[test]
fn policies_see_one_nan_whatever_the_machine_made() {
    let mut state = state(64);
    let one = vector(&mut state, &[f32::from_bits(0xffc1_2345), f32::from_bits(0x7f80_0001), 1.0]);
    let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<_>>();
    assert_eq!(bits(read(&mut state, &one)), [0x7fc0_0000, 0x7fc0_0000, 0x3f80_0000]);
    assert_eq!(state.sum(lent(&one)).unwrap().to_bits(), 0x7ff8_0000_0000_0000);
    assert_eq!(state.dot(lent(&one), lent(&one)).unwrap().to_bits(), 0x7ff8_0000_0000_0000);
}

#[test]
fn what_kernels_need_in_between_is_charged_and_given_back() {
    let mut state = state(1);
    let large = HostVector::new(&mut state, (MIB / 8) as u32).unwrap();
    assert!(misuse(state.top_k(lent(&large), 0, (MIB / 8) as u32, (MIB / 8) as u32)).contains("memory"));
    assert!(misuse(state.matmul(lent(&large), lent(&large), 1, (MIB / 8) as u32, 1, false, false)).contains("memory"));
    let set = HostIndexSet::runs(&mut state, (MIB - 1) as u32, 0, 1, 1, 1).unwrap();
    assert!(misuse(state.complement(lent(&set))).contains("memory"));
    // Nothing of that is held: the other half of the memory is free.
    HostVector::new(&mut state, (MIB / 8 - 1) as u32).unwrap();
}

#[test]
fn work_adds_up_over_one_call_of_the_policy() {
    let mut state = State::new(&LimitsConfig { deadline_ms: 1, ..LimitsConfig::default() });
    let one = HostVector::new(&mut state, 80 * 80).unwrap();
    state.matmul(lent(&one), lent(&one), 80, 80, 80, false, false).unwrap();
    let error = misuse(state.matmul(lent(&one), lent(&one), 80, 80, 80, false, false));
    assert_eq!(error, "work: algebra.matmul brings it to 1024000 operations, limit 1000000");
    state.start_call();
    state.matmul(lent(&one), lent(&one), 80, 80, 80, false, false).unwrap();
}

#[test]
fn a_hook_without_memory_is_told_so() {
    let mut state = state(1);
    assert_eq!(misuse(state.load("key".into())), "host.load: this hook has no memory");
    assert_eq!(misuse(state.forget("key".into())), "host.forget: this hook has no memory");
}
