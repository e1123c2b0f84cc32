//! All plans of a folder in one file, in the layout of AblationBench.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::PlanResult;
use crate::Mode;

/// All plans by id, in the order of the manifest.
pub(super) struct AllPlans<'a> {
    pub results: &'a [PlanResult],
    pub planner: &'a str,
    pub mode: Mode,
}

impl Serialize for AllPlans<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct PlanOf<'a> {
            predictions: &'a str,
            cost: Option<f64>,
            planner: &'a str,
            mode: Mode,
            #[serde(skip_serializing_if = "Option::is_none")]
            error: Option<&'a str>,
        }
        let mut map = serializer.serialize_map(Some(self.results.len()))?;
        for result in self.results {
            let outcome = result.outcome.as_ref();
            let plan = PlanOf {
                predictions: outcome.map_or("", |(lines, _)| lines.trim_end()),
                cost: outcome.map_or(Some(0.0), |(_, record)| record.usage.price_usd()),
                planner: self.planner,
                mode: self.mode,
                error: outcome.err().map(String::as_str),
            };
            map.serialize_entry(&result.id, &plan)?;
        }
        map.end()
    }
}
