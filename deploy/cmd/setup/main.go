// Command setup makes the secrets of a deployment in containers, unless they are there.
//
//	setup -dir /keys
package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/triggerd/triggerd/deploy/setup"
	"github.com/triggerd/triggerd/shared/process"
)

func main() {
	var cfg setup.Config
	os.Exit(process.Execute("setup", func(context.Context, io.Writer) error {
		made, err := setup.Run(cfg)
		for _, file := range made {
			fmt.Println("made", file)
		}
		if err == nil && len(made) == 0 {
			fmt.Println("everything is there already; nothing was changed")
		}
		return err
	}, &cfg))
}
