//! `kinvert devices`.

use kinvert::{Device, DeviceInfo};

use crate::session::Session;

pub fn run(session: &Session) -> anyhow::Result<()> {
    let infos: Vec<DeviceInfo> = Device::here().into_iter().map(Device::info).collect();
    session.print(&infos.iter().map(text).collect::<String>(), &infos)
}

/// A device in a few lines.
fn text(info: &DeviceInfo) -> String {
    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    let memory = info.memory.map_or("unknown".into(), |memory| {
        format!(
            "{:.1} GiB, of which {:.1} are free",
            gib(memory.total_bytes),
            gib(memory.free_bytes)
        )
    });
    let dtypes: Vec<String> = info.dtypes.iter().map(ToString::to_string).collect();
    format!(
        "{}\n  name      {}\n  kind      {}\n  memory    {memory}\n  dtypes    {}\n",
        info.device,
        info.name,
        info.kind,
        dtypes.join(", ")
    )
}
