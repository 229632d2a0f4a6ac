// Command ingress takes triggers over HTTP and makes them durable in a broker elsewhere. Its verb token issues tokens.
//
//	ingress -nats-url nats://127.0.0.1:4222 -keys-file jwks.json
//	ingress token -signing-key signing.pem -account demo -scope "trigger runtime" -ttl 24h
package main

import (
	"fmt"
	"os"

	"github.com/triggerd/triggerd/ingress"
	"github.com/triggerd/triggerd/shared/lifecycle"
	"github.com/triggerd/triggerd/shared/process"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "token" {
		os.Exit(ingress.TokenCommand(os.Args[2:], os.Stdout, os.Stderr))
	}
	var cfg ingress.Config
	os.Exit(process.Main("ingress", &cfg, func(env *process.Env) ([]lifecycle.Part, error) {
		in, err := ingress.New(cfg, ingress.Deps{
			Broker: env.Broker, Logger: env.Logger, Registerer: env.Registry, Health: env.Health})
		if err != nil {
			return nil, err
		}
		fmt.Printf("ready http=%s admin=%s\n", in.Addr(), env.Admin)
		return []lifecycle.Part{in.Part()}, nil
	}))
}
