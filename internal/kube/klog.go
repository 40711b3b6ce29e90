package kube

import (
	"github.com/go-logr/zapr"
	"go.uber.org/zap"
	"k8s.io/klog/v2"
)

// RedirectKlog sends what client-go logs to logger. It is for a program's main, once and before any client is made:
// klog's logger is one for the whole process.
func RedirectKlog(logger *zap.Logger) {
	klog.SetLoggerWithOptions(zapr.NewLogger(logger), klog.ContextualLogger(true))
}
