// Command ingress takes triggers over HTTP and makes them durable in a broker elsewhere. Its verb keys makes signing keys with their JWKS, token
// issues tokens, revoke takes them back, limit says what one account may send, and healthcheck asks an ingress beside it whether it is ready.
//
//	ingress keys -dir keys
//	ingress -nats-url nats://127.0.0.1:4222 -keys-file keys/jwks.json
//	ingress token -signing-key keys/signing.pem -account demo -scope "trigger runtime" -ttl 24h
//	ingress limit -nats-url nats://127.0.0.1:4222 -account demo -rate 500 -burst 1000
//	ingress revoke -jti crm-2027 -until 2027-12-31T00:00:00Z
//	ingress healthcheck -admin-addr 127.0.0.1:9090
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/triggerd/triggerd/ingress"
	"github.com/triggerd/triggerd/shared/lifecycle"
	"github.com/triggerd/triggerd/shared/operator"
	"github.com/triggerd/triggerd/shared/process"
)

func main() {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "keys":
			os.Exit(ingress.KeysCommand(os.Args[2:], os.Stdout, os.Stderr))
		case "limit":
			os.Exit(ingress.LimitCommand(context.Background(), os.Args[2:], os.Environ(), os.Stdout, os.Stderr))
		case "token":
			os.Exit(ingress.TokenCommand(os.Args[2:], os.Stdout, os.Stderr))
		case "revoke":
			os.Exit(ingress.RevokeCommand(context.Background(), os.Args[2:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
		}
	}
	if code, ok := operator.Healthcheck(context.Background(), "ingress", os.Args[1:], os.Environ(), os.Stdout, os.Stderr); ok {
		os.Exit(code)
	}
	var cfg ingress.Config
	os.Exit(process.Main("ingress", &cfg, func(env *process.Env) ([]lifecycle.Part, error) {
		deps := ingress.Deps{Broker: env.Broker, Logger: env.Logger, Registerer: env.Registry, Health: env.Health, Tracer: env.Tracer}
		var http string
		env.Announce = func() error { _, err := fmt.Printf("ready http=%s admin=%s\n", http, env.Admin); return err }
		return []lifecycle.Part{ingress.Part(cfg, deps, func(addr string) { http = addr })}, nil
	}))
}
