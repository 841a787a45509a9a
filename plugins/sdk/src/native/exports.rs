//! The export macros, natively: nothing is exported, but that the policy has the hooks is checked as on wasm.

use std::marker::PhantomData;

use crate::{Acknowledging, Aggregator, CatchingUp, Compressor, Exported, Planning, Stepping};

/// Compiles for what [`crate::export_compressor`] takes.
pub const fn compressor<P: Compressor>(_: PhantomData<Exported<P>>) {}

/// Compiles for what [`crate::export_planning`] takes.
pub const fn planning<P: Planning>(_: PhantomData<Exported<P>>) {}

/// Compiles for what [`crate::export_acknowledging`] takes.
pub const fn acknowledging<P: Acknowledging>(_: PhantomData<Exported<P>>) {}

/// Compiles for what [`crate::export_catching_up`] takes.
pub const fn catching_up<P: CatchingUp>(_: PhantomData<Exported<P>>) {}

/// Compiles for what [`crate::export_aggregator`] takes.
pub const fn aggregator<P: Aggregator>(_: PhantomData<Exported<P>>) {}

/// Compiles for what [`crate::export_stepping`] takes.
pub const fn stepping<P: Stepping>(_: PhantomData<Exported<P>>) {}

/// Exports the world `compressor`: `export_compressor!(Component)`.
#[macro_export]
macro_rules! export_compressor {
    ($component:ty) => {
        const _: () = $crate::exports::compressor(::core::marker::PhantomData::<$component>);
    };
}

/// Exports the world `plans`, beside `export_compressor`.
#[macro_export]
macro_rules! export_planning {
    ($component:ty) => {
        const _: () = $crate::exports::planning(::core::marker::PhantomData::<$component>);
    };
}

/// Exports the world `acknowledges`, beside `export_compressor`.
#[macro_export]
macro_rules! export_acknowledging {
    ($component:ty) => {
        const _: () = $crate::exports::acknowledging(::core::marker::PhantomData::<$component>);
    };
}

/// Exports the world `catches-up`, beside `export_compressor`.
#[macro_export]
macro_rules! export_catching_up {
    ($component:ty) => {
        const _: () = $crate::exports::catching_up(::core::marker::PhantomData::<$component>);
    };
}

/// Exports the world `aggregator`: `export_aggregator!(Component)`.
#[macro_export]
macro_rules! export_aggregator {
    ($component:ty) => {
        const _: () = $crate::exports::aggregator(::core::marker::PhantomData::<$component>);
    };
}

/// Exports the world `steps`, beside `export_aggregator`.
#[macro_export]
macro_rules! export_stepping {
    ($component:ty) => {
        const _: () = $crate::exports::stepping(::core::marker::PhantomData::<$component>);
    };
}
