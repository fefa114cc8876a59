/* SPDX-License-Identifier: Apache-2.0 */
/* The look of the HTML report: no external resource, light and dark, narrow screens. */
#ifndef BENCH_REPORT_HTML_STYLE_H
#define BENCH_REPORT_HTML_STYLE_H

extern const char report_html_style[];

#endif
