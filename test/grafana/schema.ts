// What Grafana's schema says of the dashboard: of itself, and of its panels, which are
// all time series of Prometheus.

import type { Dashboard, GraphFieldConfig, OptionsWithLegend, OptionsWithTooltip, Panel } from '@grafana/schema';
import type { PrometheusDataQuery } from '@grafana/schema/dist/esm/raw/composable/prometheus/dataquery/x/PrometheusDataQuery_types.gen.js';

// In JSON an enum of texts is one of its texts.
type Plain<T> = T extends string ? `${T}` : T extends object ? { [K in keyof T]: Plain<T[K]> } : T;

interface TimeSeries extends Omit<Panel, 'type' | 'options' | 'fieldConfig' | 'targets'> {
	type: 'timeseries';
	options: Plain<OptionsWithLegend & OptionsWithTooltip>;
	fieldConfig: {
		defaults: Plain<NonNullable<Panel['fieldConfig']>['defaults']> & { custom: Plain<Partial<GraphFieldConfig>> };
		overrides: [];
	};
	targets: Plain<Omit<PrometheusDataQuery, 'datasource'> & { datasource: { type: 'prometheus'; uid: string } }>[];
}

export interface Checked extends Omit<Dashboard, 'panels'> {
	panels: TimeSeries[];
}

// Such faults are seen.
const panel: Omit<TimeSeries, 'options' | 'gridPos' | 'targets'> = {
	type: 'timeseries',
	title: 'A panel',
	fieldConfig: { defaults: { custom: { drawStyle: 'line' } }, overrides: [] },
};
const options: TimeSeries['options'] = {
	legend: { displayMode: 'list', placement: 'bottom', showLegend: true, calcs: [] },
	tooltip: { mode: 'multi', sort: 'desc' },
};
export const sound: TimeSeries = { ...panel, options, gridPos: { h: 8, w: 8, x: 0, y: 0 }, targets: [] };
export const faults: TimeSeries[] = [
	// @ts-expect-error: a size that is no number
	{ ...panel, options, gridPos: { h: '8', w: 8, x: 0, y: 0 }, targets: [] },
	// @ts-expect-error: a legend that there is not
	{ ...panel, options: { ...options, legend: { ...options.legend, displayMode: 'row' } }, targets: [] },
	// @ts-expect-error: a query without an expression
	{ ...panel, options, targets: [{ refId: 'A', datasource: { type: 'prometheus', uid: 'x' } }] },
];
