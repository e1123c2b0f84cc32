//! Linear layers of 16-bit floats on the CPU, by the library's own products and widened to f32:
//! `cargo bench -p kinvert-nets --bench half`. With `-- load`, the time and memory that loading 2 GB of weights takes
//! instead (the file is written to the folder for temporary files, and removed). Prints Markdown.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a program that prints its measurements"
)]

use std::io::{BufWriter, Write};
use std::time::{Duration, Instant};

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::prelude::*;
use burn::tensor::module::linear as library_linear;
use burn::tensor::{Distribution, FloatDType};
use burn_flex::Flex;
use kinvert_nets::kernels::linear::linear;
use kinvert_nets::{Precision, Weights};

const REPEATS: usize = 9;

fn main() {
    match std::env::args().any(|argument| argument == "load") {
        true => loading(),
        false => products(),
    }
}

/// Rows, channels in and channels out of linear layers: the built-in model's, and a full-size model's.
const SIZES: [[usize; 3]; 4] = [
    [2048, 64, 64],
    [2048, 64, 512],
    [1024, 320, 320],
    [1024, 1280, 1280],
];

fn products() {
    println!(
        "| rows × in → out | f32 | f16, library | f16, widened | bf16, library | bf16, widened |"
    );
    println!("|---|---|---|---|---|---|");
    for [rows, inside, outside] in SIZES {
        let device = Default::default();
        let random = |shape| Tensor::<Flex, 2>::random(shape, Distribution::Default, &device);
        let (x, weight) = (random([rows, inside]), random([inside, outside]));
        let bias = random([1, outside]).reshape([outside]);
        let times = [
            (FloatDType::F32, false),
            (FloatDType::F16, false),
            (FloatDType::F16, true),
            (FloatDType::BF16, false),
            (FloatDType::BF16, true),
        ]
        .map(|(dtype, widened)| {
            let (x, weight) = (x.clone().cast(dtype), weight.clone().cast(dtype));
            let bias = bias.clone().cast(dtype);
            let time = fastest(|| {
                let (x, weight, bias) = (x.clone(), weight.clone(), Some(bias.clone()));
                match widened {
                    true => linear(x, weight, bias),
                    false => library_linear(x, weight, bias),
                };
            });
            format!("{:.2} ms", 1e3 * time.as_secs_f64())
        });
        println!("| {rows} × {inside} → {outside} | {} |", times.join(" | "));
    }
}

fn fastest(mut work: impl FnMut()) -> Duration {
    let mut time = || {
        let started = Instant::now();
        work();
        started.elapsed()
    };
    let times = (0..REPEATS).map(|_| time());
    times.min().unwrap_or_default()
}

#[derive(Module, Debug)]
struct Layers<B: Backend> {
    layers: Vec<Linear<B>>,
}

/// Layers of 32 MiB in 16 bits: 2 GiB together.
const LAYERS: usize = 64;
const CHANNELS: usize = 4096;

fn loading() {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let path = folder.path().join("weights.safetensors");
    write_f16(&path).expect("2 GiB of room");
    println!("| loaded as | time | memory |");
    println!("|---|---|---|");
    for precision in [Precision::F16, Precision::BF16, Precision::F32] {
        let linear = |_| {
            LinearConfig::new(CHANNELS, CHANNELS)
                .with_bias(false)
                .init(&Default::default())
        };
        let layers = Layers::<Flex> {
            layers: (0..LAYERS).map(linear).collect(),
        };
        let started = Instant::now();
        let loaded =
            Weights::open_file(&path).and_then(|weights| weights.fill_as(precision, layers, &[]));
        let loaded = loaded.expect("the file is what was written");
        let seconds = started.elapsed().as_secs_f64();
        println!("| {precision} | {seconds:.1} s | {} |", own_memory());
        drop(loaded);
    }
}

/// Memory of this process that is no mapped file, as Linux tells it.
fn own_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("RssAnon:"));
    line.map_or("unknown", |line| line["RssAnon:".len()..].trim())
        .into()
}

/// A safetensors file of f16 that are all finite.
fn write_f16(path: &std::path::Path) -> std::io::Result<()> {
    let bytes = 2 * CHANNELS * CHANNELS;
    let entries: Vec<String> = (0..LAYERS)
        .map(|layer| {
            format!(
                "\"layers.{layer}.weight\":{{\"dtype\":\"F16\",\"shape\":[{CHANNELS},{CHANNELS}],\"data_offsets\":[{},{}]}}",
                layer * bytes,
                (layer + 1) * bytes
            )
        })
        .collect();
    let header = format!("{{{}}}", entries.join(","));
    let mut file = BufWriter::new(std::fs::File::create(path)?);
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    let mut state = 1_u32;
    for _ in 0..LAYERS {
        let layer: Vec<u8> = (0..CHANNELS * CHANNELS)
            .flat_map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                ((state >> 16) as u16 & 0xbbff).to_le_bytes() // exponents below that of infinity
            })
            .collect();
        file.write_all(&layer)?;
    }
    file.flush()
}
