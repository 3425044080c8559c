// Package api is a stand-in for the WeChat Pay API that costs nearly nothing, so that what is measured is who
// calls it. Its answers are signed once a second, and not anew for each call; it answers after a latency that
// is set; it counts per job, and it can be told to refuse a share of the jobs for a while.
//
// It is no simulator: internal/wxsim is that. Of each hundred calls it holds one against the API's rules
// (signature, headers, path and body), so that nobody is fast by leaving something out.
package api
