package backbone_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"telltale.dev/cloud/backbone"
)

func Example() {
	dir, _ := os.MkdirTemp("", "backbone")
	defer os.RemoveAll(dir)
	b, err := backbone.Open(backbone.Config{Dir: dir})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer b.Close()

	stored := make(chan error, 1)
	b.Publish(backbone.Message{Subject: "up.s1.car7.batch", Data: []byte("a batch")}, func(_ uint64, err error) { stored <- err })
	fmt.Println("on disk:", <-stored == nil)

	messages, _ := b.Read(context.Background(), backbone.Up, 1, 100, time.Second)
	for _, m := range messages {
		fmt.Println(m.Sequence, m.Subject, string(m.Data))
	}
	// Output:
	// on disk: true
	// 1 up.s1.car7.batch a batch
}
